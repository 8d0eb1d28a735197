//! The server as a process: its start, its end, crashes, and a database that goes away.

mod crash;
mod lifecycle;
mod outage;
mod race;
mod replicas;
mod start;
mod stream;
