//! `tidegate gateway top`: a running gateway, each second anew: Little's law for every service, and how its endpoints stand.
//!
//! It asks the admin endpoint, as anybody may; what it shows is there as JSON too.

mod screen;
mod sight;

use crate::cli::GatewayTop as Options;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use sight::Sight;
use std::error::Error;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Shows it until `q`, or once.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let admin = &options.admin;
    let look = |before: Option<&Sight>| {
        Sight::look(admin, before).map_err(|error| {
            format!("no gateway answers at {admin}: {error}; give the admin address of its ready line")
        })
    };
    let first = look(None)?;
    if options.once || !std::io::stdout().is_terminal() {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(screen::text(&first, ONCE_COLUMNS).as_bytes())?;
        return Ok(());
    }
    let mut terminal = ratatui::try_init()?;
    let ended = watch(&mut terminal, first, look);
    ratatui::try_restore()?;
    ended
}

/// How wide it is where there is no terminal to ask.
const ONCE_COLUMNS: u16 = 132;

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    mut sight: Sight,
    look: impl Fn(Option<&Sight>) -> Result<Sight, String>,
) -> Result<(), Box<dyn Error>> {
    let mut next = Instant::now() + LOOK_EVERY;
    let (mut chosen, mut lost) = (0usize, None);
    loop {
        chosen = chosen.min(sight.services.len().saturating_sub(1));
        terminal.draw(|frame| screen::draw(frame, &sight, chosen, lost.as_deref()))?;
        if event::poll(next.saturating_duration_since(Instant::now()))? {
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
            {
                let interrupts = key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('c') if interrupts => return Ok(()),
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Down | KeyCode::Char('j') => chosen += 1,
                    KeyCode::Up | KeyCode::Char('k') => chosen = chosen.saturating_sub(1),
                    _ => {}
                }
            }
            continue;
        }
        // What was seen last stays while nobody answers: the gateway may be restarting.
        match look(Some(&sight)) {
            Ok(seen) => (sight, lost) = (seen, None),
            Err(error) => lost = Some(error),
        }
        next = Instant::now() + LOOK_EVERY;
    }
}
