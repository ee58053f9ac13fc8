//! wharf on tokio, over real sockets of the loopback interface.

mod hostile;
mod net;
mod node;
mod raw;
mod shell;
