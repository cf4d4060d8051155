//! Tables for people: columns parted by two spaces, as wide as they must be.

/// A table that grows by rows.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// One with these titles.
    pub(crate) fn new<const N: usize>(titles: [&str; N]) -> Table {
        Table {
            rows: vec![titles.map(str::to_owned).to_vec()],
        }
    }

    /// Adds a row of as many cells as there are titles.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(self.rows[0].len(), N, "a cell for each title");
        self.rows.push(cells.to_vec());
    }

    /// The text; no line ends with spaces.
    pub(crate) fn text(&self) -> String {
        let mut widths = vec![0; self.rows[0].len()];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths);
            let line: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            text.push_str(line.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test, that is how it fails
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["KEY", "N"]);
        table.row(["größer".into(), "1".into()]);
        table.row(["a".into(), String::new()]);
        assert_eq!(table.text(), "KEY     N\ngrößer  1\na\n");
    }
}
