//! The binary: threads, sockets, files and the command line around the deterministic core.

mod admin;
mod bench;
mod check;
mod cli;
mod clients;
mod clock;
mod cluster;
mod descriptors;
mod dev;
mod gateway;
mod http;
mod journal;
mod keeper;
mod lane;
mod local;
mod locks;
mod log;
mod meters;
mod neighbours;
mod peers;
mod plan;
mod room;
mod server;
mod settings;
mod shared;
mod status;
mod strain;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
