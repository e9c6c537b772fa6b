//! Word to systemd: ready, alive, stopping.
//! In: `NOTIFY_SOCKET`, if systemd has started us. Out: datagrams, as sd_notify(3) describes them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;

/// The way to systemd; without one, nothing is told.
pub struct Notify {
    socket: Option<UnixDatagram>,
}

impl Notify {
    /// The socket that the environment names.
    pub fn from_environment() -> Self {
        Self { socket: std::env::var_os("NOTIFY_SOCKET").and_then(|name| connect(&name).ok()) }
    }

    /// Tells it. That it does not arrive must not stop anything: systemd then acts by its own rules.
    pub fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(state.as_bytes());
        }
    }
}

fn connect(name: &OsStr) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', hidden @ ..] => {
            use std::os::linux::net::SocketAddrExt;
            socket.connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(hidden)?)?;
        }
        _ => socket.connect(name)?,
    }
    Ok(socket)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_arrives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        let notify = Notify { socket: Some(connect(path.as_os_str()).unwrap()) };
        notify.tell("READY=1");
        let mut told = [0; 64];
        let n = systemd.recv(&mut told).unwrap();
        assert_eq!(&told[..n], b"READY=1");
        // Nobody listens any more: nothing happens.
        drop(systemd);
        notify.tell("WATCHDOG=1");
        assert!(connect(dir.path().join("nobody").as_os_str()).is_err());
    }
}
