//! wharf as a user meets it: processes, sockets, files.

mod cli;
mod garbage;
mod import;
mod kill;
mod node;
mod proxy;
mod sources;
