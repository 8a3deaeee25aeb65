//! The addresses of this host: every interface's, IPv4 and IPv6.
