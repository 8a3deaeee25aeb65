//! Local sockets by sock_diag.
