//! Local sockets to the processes that hold them.
