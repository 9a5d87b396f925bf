//! Frames without waiting for them: what has come of an answer is kept until the rest is there.
//!
//! Imports the requests and answers of [`super::super::wire`] alone.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::zookeeper::wire::{In, Out};

/// No answer that the crowd asks for is longer.
const FRAME_MOST: usize = 4 << 20;

/// A connection.
pub(super) struct Frames {
    stream: TcpStream,
    came: Vec<u8>,
}

impl Frames {
    pub(super) async fn connect(addr: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, came: Vec::new() })
    }

    pub(super) async fn send(&mut self, body: &Out) -> std::io::Result<()> {
        self.stream.write_all(&body.framed()).await
    }

    /// The next frame; may be dropped at any time and asked for again.
    pub(super) async fn receive(&mut self) -> std::io::Result<In> {
        loop {
            if let Some(frame) = self.whole()? {
                return Ok(In::new(frame));
            }
            if self.stream.read_buf(&mut self.came).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn whole(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let Some(length) = self.came.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(std::io::Error::other)?;
        if length > FRAME_MOST {
            return Err(std::io::Error::other(format!("an answer of {length} bytes")));
        }
        if self.came.len() < length + 4 {
            return Ok(None);
        }
        let rest = self.came.split_off(length + 4);
        let mut frame = std::mem::replace(&mut self.came, rest);
        frame.drain(..4);
        Ok(Some(frame))
    }
}
