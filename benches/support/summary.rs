//! Everything measured, side by side: one row each, one column a way.

use super::table;

/// What was found so far.
pub struct Summary {
    ways: Vec<&'static str>,
    rows: Vec<(String, Vec<String>)>,
}

impl Summary {
    pub fn new(ways: impl Iterator<Item = &'static str>) -> Self {
        Self { ways: ways.collect(), rows: Vec::new() }
    }

    /// One figure. Rows come in the order in which they are first named.
    pub fn add(&mut self, row: &str, way: &str, figure: String) {
        let Some(column) = self.ways.iter().position(|known| *known == way) else { return };
        if !self.rows.iter().any(|(known, _)| known == row) {
            self.rows.push((row.to_owned(), vec!["-".to_owned(); self.ways.len()]));
        }
        let found = self.rows.iter_mut().find(|(known, _)| known == row);
        if let Some(cell) = found.and_then(|(_, cells)| cells.get_mut(column)) {
            *cell = figure;
        }
    }

    /// Prints it, if there is anything.
    pub fn print(&self) {
        if self.rows.is_empty() {
            return;
        }
        let mut rows = vec![vec![String::new()]];
        rows[0].extend(self.ways.iter().map(|way| (*way).to_owned()));
        for (title, cells) in &self.rows {
            let mut row = vec![title.clone()];
            row.extend(cells.iter().cloned());
            rows.push(row);
        }
        table::print("side by side (x: beside the direct connection)", &rows);
    }
}
