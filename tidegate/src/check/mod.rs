//! `tidegate check`: reads a recorded history and says whether it is linearizable. The checker is `core/history`; here are
//! its file, its clock and its exit code.

use crate::cli::{Check, Model, StartState};
use base::limits::HISTORY_LINE_BYTES_MAX;
use history::{Dialect, History, Start, Verdict, check, lines, report};
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Checks a history; the exit code is 0 if it is linearizable, 1 if it is not, and 2 if nobody knows.
pub fn run(options: &Check) -> ExitCode {
    match run_inner(options) {
        Ok(Verdict::Linearizable(_)) => ExitCode::SUCCESS,
        Ok(Verdict::Violation(..)) => ExitCode::from(1),
        Ok(Verdict::Undecided(..)) => ExitCode::from(2),
        Err(error) => {
            eprintln!("tidegate: {error}");
            ExitCode::from(2)
        }
    }
}

fn run_inner(options: &Check) -> Result<Verdict, Box<dyn Error>> {
    let begun = Instant::now();
    let history = read(options)?;
    let read = begun.elapsed();
    let verdict = check(&history, budget(Duration::from_secs(options.budget)));
    let checked = begun.elapsed() - read;
    let mut stdout = std::io::stdout().lock();
    if options.json {
        let mut document = report::json(&history, &verdict);
        document["read_seconds"] = read.as_secs_f64().into();
        document["check_seconds"] = checked.as_secs_f64().into();
        writeln!(stdout, "{document}")?;
    } else {
        stdout.write_all(report::text(&history, &verdict).as_bytes())?;
        writeln!(stdout, "Read in {:.2} s, checked in {:.2} s.", read.as_secs_f64(), checked.as_secs_f64())?;
    }
    Ok(verdict)
}

/// Goes on until the time is over, which is looked up now and then.
fn budget(time: Duration) -> impl FnMut() -> bool {
    const CALLS_PER_LOOK: u32 = 64;
    let until = Instant::now() + time;
    let (mut calls, mut going) = (0u32, true);
    move || {
        calls = calls.wrapping_add(1);
        if calls.is_multiple_of(CALLS_PER_LOOK) {
            going = going && Instant::now() < until;
        }
        going
    }
}

fn read(options: &Check) -> Result<History, Box<dyn Error>> {
    let dialect = match options.model {
        Model::Redis => Dialect::Redis,
        Model::Register => Dialect::Register,
    };
    let mut history = History::starting(match options.start {
        StartState::Empty => Start::Empty,
        StartState::Unknown => Start::Unknown,
    });
    if options.file == Path::new("-") {
        read_lines(std::io::stdin().lock(), "stdin", dialect, &mut history)?;
    } else {
        let name = options.file.display().to_string();
        let file = File::open(&options.file)
            .map_err(|error| format!("{name} can't be opened: {error}; give the file of a recorded history"))?;
        read_lines(BufReader::with_capacity(1 << 20, file), &name, dialect, &mut history)?;
    }
    if history.operations().is_empty() && history.refused() == 0 {
        let name = options.file.display();
        return Err(
            format!("{name} holds no operation, so nothing can be said: record some, one JSON object a line").into()
        );
    }
    Ok(history)
}

fn read_lines(
    mut input: impl BufRead,
    name: &str,
    dialect: Dialect,
    history: &mut History,
) -> Result<(), Box<dyn Error>> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let most = HISTORY_LINE_BYTES_MAX as u64 + 1;
        input
            .by_ref()
            .take(most)
            .read_until(b'\n', &mut line)
            .map_err(|error| format!("{name}:{number}: can't be read: {error}"))?;
        if line.is_empty() {
            break;
        }
        if line.len() > HISTORY_LINE_BYTES_MAX {
            return Err(format!("{name}:{number}: the line is longer than {HISTORY_LINE_BYTES_MAX} bytes, more than an operation can have: write each operation on a line of its own").into());
        }
        lines::read(&line, number, dialect, history).map_err(|error| format!("{name}:{number}: {error}"))?;
    }
    Ok(())
}
