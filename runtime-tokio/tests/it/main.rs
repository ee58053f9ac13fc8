//! wharf on tokio, over real sockets of the loopback interface.

mod foreign;
mod hostile;
mod interop;
mod net;
mod node;
mod raw;
mod shell;
