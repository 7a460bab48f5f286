//! A picture of a few operations: clients as rows, time to the right, a bar from each call to its return.
//!
//! Time is drawn by the order of calls and returns, each as wide as its label needs: whether two bars overlap is what
//! matters, not for how long.

use crate::record::{History, Operation};
use crate::verdict::Evidence;
use std::collections::BTreeMap;

/// The rows, a line each.
pub(crate) fn timeline(history: &History, shown: &[Evidence]) -> String {
    let operations: Vec<&Operation> = shown.iter().map(|evidence| &history.operations()[evidence.op.0]).collect();
    let full: Vec<String> = operations.iter().map(|operation| label(operation)).collect();
    let short: Vec<String> = operations.iter().map(|operation| format!("#{}", operation.line)).collect();
    let bars = Bars::new(&operations, full);
    let bars = if bars.width > WIDTH_MAX { Bars::new(&operations, short) } else { bars };
    bars.draw(&operations)
}

fn label(operation: &Operation) -> String {
    let result = operation.returned.as_ref().map_or("?".to_owned(), |returned| returned.reply.to_string());
    format!("#{} {} -> {result}", operation.line, operation.command)
}

/// Where the bars begin and end, in columns.
struct Bars {
    labels: Vec<String>,
    from: Vec<usize>,
    to: Vec<usize>,
    width: usize,
}

impl Bars {
    fn new(operations: &[&Operation], labels: Vec<String>) -> Self {
        let calls = operations.iter().enumerate().map(|(at, one)| (one.invoke_ns, 0, at));
        let returns = operations
            .iter()
            .enumerate()
            .map(|(at, one)| (one.returned.as_ref().map_or(u64::MAX, |returned| returned.at_ns), 1, at));
        let mut events: Vec<(u64, u8, usize)> = calls.chain(returns).collect();
        events.sort_unstable();
        let (mut from, mut to) = (vec![0; operations.len()], vec![0; operations.len()]);
        let mut column = 0;
        for (_, kind, at) in events {
            column += 1;
            if kind == 0 {
                from[at] = column;
            } else {
                // The bar, its ends, and a blank at each side of the label.
                column = column.max(from[at] + labels[at].chars().count() + 3);
                to[at] = column;
            }
        }
        // What never returned goes on to the edge.
        for (end, _) in to.iter_mut().zip(operations).filter(|(_, operation)| operation.returned.is_none()) {
            *end = column;
        }
        Self { labels, from, to, width: column + 2 }
    }

    fn draw(&self, operations: &[&Operation]) -> String {
        let mut rows: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
        for (at, operation) in operations.iter().enumerate() {
            let rows = rows.entry(&operation.client).or_default();
            let free = rows.iter().position(|row| row.end < self.from[at]);
            let row = free.unwrap_or_else(|| {
                rows.push(Row::default());
                rows.len() - 1
            });
            rows[row].draw(self.from[at], self.to[at], &self.labels[at], operation.returned.is_some());
        }
        let names = rows.keys().map(|client| client.chars().count()).max().unwrap_or(0) + "client ".len();
        let mut out = String::new();
        for (client, rows) in rows {
            for (number, row) in rows.iter().enumerate() {
                let name = if number == 0 { format!("client {client}") } else { String::new() };
                out += format!("  {name:<names$} {}", row.text).trim_end();
                out.push('\n');
            }
        }
        out
    }
}

/// A row of bars that don't overlap; a client who pipelines has several.
#[derive(Default)]
struct Row {
    text: String,
    end: usize,
}

impl Row {
    fn draw(&mut self, from: usize, to: usize, label: &str, returned: bool) {
        let drawn = self.text.chars().count();
        self.text.extend(std::iter::repeat_n(' ', from - drawn));
        let room = to - from - 1;
        let dashes = room - label.chars().count() - 2;
        let (before, behind) = (dashes / 2, dashes - dashes / 2);
        let end = if returned { '|' } else { '>' };
        self.text += &format!("|{} {label} {}{end}", "-".repeat(before), "-".repeat(behind));
        self.end = to;
    }
}

/// With labels that make it wider, the bars have numbers alone; the operations stand below in words.
const WIDTH_MAX: usize = 110;
