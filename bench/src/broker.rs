//! A broker that answers as fast as it can: its answers are made beforehand, and it keeps nothing.

use crate::frames::Answers;
use crate::reader::Reader;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use testbed::{Error, Result};

/// Answers up to this many bytes together are written with one call.
const TOGETHER: usize = 64 * 1024;

/// Serves until it is killed.
pub(crate) fn serve(listen: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).map_err(Error::io("listening"))?;
    let answers = Answers::new(listen)?;
    for stream in listener.incoming() {
        let stream = stream.map_err(Error::io("accepting"))?;
        let answers = answers.clone();
        std::thread::spawn(move || {
            if let Err(error) = answer(stream, answers) {
                eprintln!("broker: {error}");
            }
        });
    }
    Ok(())
}

fn answer(mut stream: TcpStream, mut answers: Answers) -> Result<()> {
    stream.set_nodelay(true).map_err(Error::io("setting nodelay"))?;
    let mut back = stream.try_clone().map_err(Error::io("sharing a socket"))?;
    let (mut reader, mut out) = (Reader::new(), Vec::with_capacity(2 * TOGETHER));
    loop {
        if !out.is_empty() && reader.would_read(Answers::needs_whole) {
            back.write_all(&out).map_err(Error::io("answering"))?;
            out.clear();
        }
        let Some(seen) = reader.next(&mut stream, Answers::needs_whole)? else { return Ok(()) };
        answers.to(seen.bytes, &mut |bytes| {
            if out.len() + bytes.len() <= TOGETHER {
                out.extend_from_slice(bytes);
                return Ok(());
            }
            back.write_all(&out).and_then(|()| back.write_all(bytes)).map_err(Error::io("answering"))?;
            out.clear();
            Ok(())
        })?;
    }
}
