//! wharf on tokio, over real sockets of the loopback interface.

mod foreign;
mod hostile;
mod interop;
mod liar;
mod net;
mod node;
mod raw;
mod shell;
