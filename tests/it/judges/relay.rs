//! A TCP connection that can be cut: what connects here is let through to a port, until it is not.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct Relay {
    pub port: u16,
    is_whole: watch::Sender<bool>,
}

impl Relay {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().port();
        let (is_whole, watched) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut watched = watched.clone();
                if !*watched.borrow() {
                    continue;
                }
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(("127.0.0.1", port)).await?;
                    tokio::select! {
                        ended = copy_bidirectional(&mut near, &mut far) => ended.map(drop),
                        _ = watched.wait_for(|is_whole| !is_whole) => Ok(()),
                    }
                });
            }
        });
        Self { port: here, is_whole }
    }

    pub fn cut(&self) {
        self.is_whole.send(false).unwrap();
    }

    pub fn mend(&self) {
        self.is_whole.send(true).unwrap();
    }
}
