//! Standard output shared by log lines and a table that stays below them.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Up to the first line of the table, and clear to the end of the screen (ECMA-48 CPL and ED).
fn erase(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}F\x1b[J") }
}

#[derive(Clone)]
pub struct Screen(Arc<Mutex<Shown>>);

struct Shown {
    terminal: bool,
    /// Below everything else; empty where there is no terminal.
    table: String,
}

/// Where the log of the demo goes.
pub struct LogLines(Screen);

impl Screen {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Shown { terminal: io::stdout().is_terminal(), table: String::new() })))
    }

    pub fn is_terminal(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).terminal
    }

    pub fn log(&self) -> LogLines {
        LogLines(self.clone())
    }

    /// A text above the table.
    pub fn print(&self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).update(text, None);
    }

    /// The last words take the table's place.
    pub fn finish(&self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).update(text, Some(""));
    }

    pub fn draw(&self, table: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).update("", Some(table));
    }
}

impl Shown {
    fn update(&mut self, text: &str, table: Option<&str>) {
        let erased = erase(self.table.lines().count());
        if let Some(table) = table {
            table.clone_into(&mut self.table);
        }
        let mut out = io::stdout().lock();
        // Nobody may be looking any more, which is no reason to stop.
        let _ = write!(out, "{erased}{text}{}", self.table).and_then(|()| out.flush());
    }
}

impl Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.print(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
