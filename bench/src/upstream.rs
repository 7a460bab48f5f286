//! A service whose capacity is waiting, not CPU: slots that are busy for a time, and a queue before them.

use crate::Upstream;
use crate::exchange::head_end;
use std::error::Error;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nok\n";
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Connections that wait to be accepted: the service's queue is its own.
const BACKLOG: u32 = 4096;

/// Serves until stdin ends.
pub async fn run(options: Upstream) -> Result<(), Box<dyn Error>> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], options.port).into())?;
    let listener = socket.listen(BACKLOG)?;
    println!("ready port={}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    let slots = Rc::new(Semaphore::new(options.slots));
    let ended = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        // A write to it, or its end.
        let _ = std::io::stdin().read_line(&mut String::new());
        drop(ended.0);
    });
    let accepting = tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::task::spawn_local(serve(stream, slots.clone(), options.clone()));
        }
    });
    // It ends by being dropped, which is what the end of stdin does.
    let _ = ended.1.await;
    match accepting.is_finished() {
        true => accepting.await?,
        false => Ok(()),
    }
}

/// One connection: a client that goes is noticed when its answer is written, as by most services.
async fn serve(mut stream: TcpStream, slots: Rc<Semaphore>, options: Upstream) {
    let _ = stream.set_nodelay(true);
    let mut held = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = head_end(&held) {
                break end;
            }
            match stream.read_buf(&mut held).await {
                Ok(read) if read > 0 && held.len() < HEAD_BYTES_MAX => {}
                _ => return,
            }
        };
        held.drain(..end);
        let Ok(slot) = slots.acquire().await else { return };
        tokio::time::sleep(options.draw()).await;
        drop(slot);
        if stream.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}

impl Upstream {
    fn draw(&self) -> Duration {
        let times = if self.exponential { -(1.0 - fastrand::f64()).ln() } else { 1.0 };
        Duration::from_secs_f64(self.service_ms * times / 1e3)
    }
}
