//! The options that every TCP socket gets, accepted or connected.
//!
//! May import: nothing of the project. Must never: touch an option that is left at zero.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Options of a TCP socket. A zero duration leaves the system's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketOptions {
    /// Silence before the first keepalive probe. Two more follow at a third of it (at least 1 s).
    pub keepalive: Duration,
    /// How long written bytes may stay unacknowledged before the kernel gives the connection up (`TCP_USER_TIMEOUT`, RFC
    /// 5482). It is what finds a peer that is gone while we send; keepalive finds it while we are silent.
    pub user_timeout: Duration,
}

/// Probes without an answer before a silent peer counts as dead.
const PROBES: u32 = 3;

impl SocketOptions {
    /// Sets them, and `TCP_NODELAY`: a frame must not wait for an acknowledgement of the one before.
    ///
    /// # Errors
    /// The system's own, for a socket that is dead already or an option that it refuses.
    pub fn apply<'s>(&self, socket: impl Into<SockRef<'s>>) -> io::Result<()> {
        let socket = socket.into();
        socket.set_tcp_nodelay(true)?;
        if !self.keepalive.is_zero() {
            let second = Duration::from_secs(1);
            let idle = self.keepalive.max(second);
            let interval = (self.keepalive / 3).max(second);
            let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(PROBES);
            socket.set_tcp_keepalive(&keepalive)?;
        }
        #[cfg(target_os = "linux")]
        if !self.user_timeout.is_zero() {
            socket.set_tcp_user_timeout(Some(self.user_timeout))?;
        }
        Ok(())
    }
}
