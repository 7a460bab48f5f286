//! The seeded world. It has no run of its own yet; its tests keep the walls of the house.

fn main() {
    eprintln!("sim: the simulator comes with the next stage; `cargo test -p sim` keeps the walls");
}
