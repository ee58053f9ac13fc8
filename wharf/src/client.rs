//! The other end of the control socket.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::control::{Reply, Request};
use crate::error::{CliError, Code};
use crate::home::Home;

/// A connection to the daemon of a home.
pub(crate) struct Client {
    stream: UnixStream,
}

impl Client {
    /// Fails at once when no daemon listens.
    pub(crate) fn connect(home: &Home) -> Result<Self, CliError> {
        let socket = home.socket();
        let stream = UnixStream::connect(&socket).map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                let message = format!("no wharf is running in {}", home.dir().display());
                CliError::new(Code::NotRunning, message, "start one with `wharf up`")
            }
            _ => CliError::io("cannot reach the daemon at", &socket, &error),
        })?;
        Ok(Self { stream })
    }

    /// Sends a request and hands each answered line on until the end.
    pub(crate) fn call(mut self, request: &Request, mut on_line: impl FnMut(Value)) -> Result<(), CliError> {
        let mut text = serde_json::to_string(request).expect("requests are plain data");
        text.push('\n');
        self.stream.write_all(text.as_bytes()).map_err(|_| died())?;
        for line in BufReader::new(self.stream).lines() {
            let line = line.map_err(|_| died())?;
            match serde_json::from_str(&line) {
                Ok(Reply::Line(value)) => on_line(value),
                Ok(Reply::End) => return Ok(()),
                Ok(Reply::Error(error)) => return Err(error),
                Err(_) => {
                    let hint = "restart the daemon so that it is of the same version";
                    return Err(CliError::new(Code::Other, "the daemon's answer makes no sense", hint));
                }
            }
        }
        Err(died())
    }
}

fn died() -> CliError {
    CliError::new(
        Code::NotRunning,
        "the daemon went away before it had answered",
        "start it again with `wharf up`; what it had acknowledged is kept",
    )
}
