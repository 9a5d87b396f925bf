//! Waiting for a condition with a bound. Nothing in the test bed sleeps without one.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// Asks `condition` every `every` until it gives a value; an error of it ends the wait at once.
pub fn poll<T>(
    what: &str,
    bound: Duration,
    every: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() >= bound {
            return Err(Error::Timeout { what: what.to_owned(), seconds: bound.as_secs() });
        }
        std::thread::sleep(every);
    }
}

/// Waits until `condition` is true, asking every 20 ms.
pub fn until(what: &str, bound: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    poll(what, bound, Duration::from_millis(20), || Ok(condition().then_some(())))
}

/// Whether something accepts connections at `addr` (asked with a bound of 500 ms).
pub fn accepts(addr: SocketAddr) -> bool {
    TcpStream::connect_timeout(&addr, Duration::from_millis(500)).is_ok()
}
