//! Files that are named on the command line.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// Opens a file, or the standard input where it is named `-`.
pub fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    Ok(if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path)?) })
}
