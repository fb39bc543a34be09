//! Clients that speak before they are greeted, which SMTP forbids ([RFC 5321 section 4.3.1](https://www.rfc-editor.org/rfc/rfc5321#section-4.3.1)):
//! programs that send spam or smuggle mail through a web browser do not wait. A client is kept waiting for a while, once.

use std::net::IpAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::config::Config;
use crate::expiring::Expiring;
use crate::networks::Networks;

/// Who is kept waiting for the greeting, and who has shown that it waits.
#[derive(Debug)]
pub struct EarlyTalkers {
    pause: Duration,
    remember: Duration,
    exempt: Networks,
    passed: Expiring,
}

/// What a client did while it was kept waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// It closed, or the connection broke.
    Left,
    /// It spoke.
    Spoke,
    /// It waited.
    Waited,
}

impl EarlyTalkers {
    /// As configured.
    pub fn new(config: &Config) -> Self {
        Self {
            pause: Duration::from_secs(config.early_talkers.pause_seconds),
            remember: Duration::from_secs(config.early_talkers.remember_seconds),
            exempt: config.trust.greeted_at_once.clone(),
            passed: Expiring::default(),
        }
    }

    /// Whether the client at `address` is to be kept waiting.
    pub fn suspects(&self, address: IpAddr) -> bool {
        !self.pause.is_zero() && !self.exempt.contains(address) && !self.passed.contains(address)
    }

    /// Keeps the client at `address` waiting, and remembers it if it does. What it says stays in the socket.
    pub async fn watch(&self, address: IpAddr, stream: &TcpStream) -> Behaviour {
        match timeout(self.pause, stream.peek(&mut [0])).await {
            Ok(Ok(1..)) => Behaviour::Spoke,
            Ok(Ok(0) | Err(_)) => Behaviour::Left,
            Err(_) => {
                self.passed.insert(address, Instant::now() + self.remember);
                Behaviour::Waited
            }
        }
    }
}
