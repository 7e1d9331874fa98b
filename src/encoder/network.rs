//! The network: from the rows of a text's pieces to its vector.

use std::fs::File;
use std::io;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Slice};

use super::DIMENSIONS;
use super::file::Header;

/// Numbers of each branch.
const BRANCH: usize = 256;
/// Pieces that each branch sees at once, and how many of them are before the one it is about.
const WINDOWS: [(usize, usize); 3] = [(2, 0), (3, 1), (5, 2)];
/// How far the branches see in either direction, both convolutions together.
const SIGHT: usize = 4;
/// Pieces that are worked on at a time: what a long text takes is no more than what a short one does.
const BLOCK: usize = 128;
/// Numbers of a piece behind the branches: its own, and those of each branch.
const FEATURES: usize = DIMENSIONS + WINDOWS.len() * BRANCH;
/// Width of the narrow layers.
const NARROW: usize = 320;
/// The rows of the table were made small in so many groups, by turns.
const GROUPS: usize = 17;
/// So many numbers glibc always asks of the system by themselves, and gives back when they are not
/// needed any more (mallopt(3): `M_MMAP_THRESHOLD` is 32 MiB at the most). What is not used of them
/// takes no memory. With fewer, the weights would stay with the process when it is idle.
const RESERVED: usize = (32 * 1024 * 1024) / size_of::<f32>() + 1;

/// Where a matrix is among the weights; a vector is one of a single row.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: usize,
    rows: usize,
    columns: usize,
}

/// Two convolutions, each added to what went in.
#[derive(Debug)]
struct Branch {
    window: usize,
    before: usize,
    weights: [Place; 2],
    biases: [Place; 2],
}

/// Layer normalization.
#[derive(Debug)]
struct Norm {
    gain: Place,
    bias: Place,
}

/// The network, with its weights.
#[derive(Debug)]
pub(super) struct Network {
    /// All weights, one section behind the other.
    numbers: Vec<f32>,
    scale: Place,
    lowest: Place,
    projection: Place,
    projection_bias: Place,
    projection_norm: Norm,
    branches: Vec<Branch>,
    norm: Norm,
    out: Place,
    out_bias: Place,
    deep: [Place; 4],
    skip: [Place; 2],
    epsilon: f32,
}

/// The sections of the file that the network is made of, with their shapes; a row of 1 is a vector.
pub(super) const SECTIONS: [(&str, usize, usize); 29] = [
    ("scale", 1, GROUPS),
    ("lo", 1, GROUPS),
    ("proj", DIMENSIONS, 3 * BRANCH),
    ("proj_b", 1, 3 * BRANCH),
    ("ln_g_all", 1, 3 * BRANCH),
    ("ln_b_all", 1, 3 * BRANCH),
    ("w1_2", 2 * BRANCH, BRANCH),
    ("b1_2", 1, BRANCH),
    ("w2_2", 2 * BRANCH, BRANCH),
    ("b2_2", 1, BRANCH),
    ("w1_3", 3 * BRANCH, BRANCH),
    ("b1_3", 1, BRANCH),
    ("w2_3", 3 * BRANCH, BRANCH),
    ("b2_3", 1, BRANCH),
    ("w1_5", 5 * BRANCH, BRANCH),
    ("b1_5", 1, BRANCH),
    ("w2_5", 5 * BRANCH, BRANCH),
    ("b2_5", 1, BRANCH),
    ("ln_g", 1, FEATURES),
    ("ln_b", 1, FEATURES),
    ("cnn_W", FEATURES, DIMENSIONS),
    ("cnn_b", 1, DIMENSIONS),
    ("d0", DIMENSIONS, NARROW),
    ("d1", NARROW, NARROW),
    ("d2", NARROW, DIMENSIONS),
    ("d3", DIMENSIONS, DIMENSIONS),
    ("p1", DIMENSIONS, NARROW),
    ("p3", NARROW, DIMENSIONS),
    ("eps", 1, 1),
];

impl Network {
    pub(super) fn read(file: &File, header: &Header) -> Result<Self, String> {
        let mut numbers = Vec::with_capacity(RESERVED);
        let mut places = Vec::with_capacity(SECTIONS.len());
        for (name, rows, columns) in SECTIONS {
            places.push((name, Place { at: numbers.len(), rows, columns }));
            header.append_numbers(file, name, rows * columns, &mut numbers)?;
        }
        let place = |name: &str| -> Result<Place, String> {
            let found = places.iter().find(|(known, _)| *known == name);
            found.map(|(_, place)| *place).ok_or_else(|| format!("there is no {name}"))
        };
        let branch = |(window, before)| -> Result<Branch, String> {
            let weights = [place(&format!("w1_{window}"))?, place(&format!("w2_{window}"))?];
            let biases = [place(&format!("b1_{window}"))?, place(&format!("b2_{window}"))?];
            Ok(Branch { window, before, weights, biases })
        };
        Ok(Self {
            scale: place("scale")?,
            lowest: place("lo")?,
            projection: place("proj")?,
            projection_bias: place("proj_b")?,
            projection_norm: Norm { gain: place("ln_g_all")?, bias: place("ln_b_all")? },
            branches: WINDOWS.into_iter().map(branch).collect::<Result<_, _>>()?,
            norm: Norm { gain: place("ln_g")?, bias: place("ln_b")? },
            out: place("cnn_W")?,
            out_bias: place("cnn_b")?,
            deep: [place("d0")?, place("d1")?, place("d2")?, place("d3")?],
            skip: [place("p1")?, place("p3")?],
            epsilon: numbers[place("eps")?.at],
            numbers,
        })
    }

    fn vector(&self, place: Place) -> ArrayView1<'_, f32> {
        ArrayView1::from(&self.numbers[place.at..place.at + place.columns])
    }

    fn matrix(&self, place: Place) -> ArrayView2<'_, f32> {
        let Place { at, rows, columns } = place;
        ArrayView2::from_shape((rows, columns), &self.numbers[at..at + rows * columns])
            .expect("the slice has a number for each place")
    }

    /// The vector of a text in pieces; `row` reads the row of a piece.
    pub(super) fn forward(
        &self,
        ids: &[u32],
        row: impl Fn(u32, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<Vec<f32>> {
        let mut sum = Array1::<f32>::zeros(FEATURES);
        for begin in (0..ids.len()).step_by(BLOCK) {
            let end = ids.len().min(begin + BLOCK);
            // With what its first and last pieces see of their neighbours.
            let first = begin.saturating_sub(SIGHT);
            let seen = &ids[first..ids.len().min(end + SIGHT)];
            let features = self.features(seen, &row)?;
            let about = Slice::from(begin - first..end - first);
            sum += &features.slice_axis(Axis(0), about).sum_axis(Axis(0));
        }
        let length = ids.len() as f32;
        let mut mean = self.times(&sum, self.out);
        mean.scaled_add(length, &self.vector(self.out_bias));
        mean /= length.sqrt();
        Ok(self.judge(&mean).to_vec())
    }

    /// The features of pieces that follow each other.
    fn features(
        &self,
        ids: &[u32],
        row: impl Fn(u32, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<Array2<f32>> {
        let mut features = Array2::<f32>::zeros((ids.len(), FEATURES));
        let (scale, lowest) = (self.vector(self.scale), self.vector(self.lowest));
        let mut bytes = [0_u8; DIMENSIONS];
        for (id, mut piece) in ids.iter().zip(features.rows_mut()) {
            row(*id, &mut bytes)?;
            let group = *id as usize % GROUPS;
            for (number, byte) in piece.iter_mut().zip(bytes) {
                *number = f32::from(byte) * scale[group] + lowest[group];
            }
        }
        let mut projected = columns(&features, 0, DIMENSIONS).dot(&self.matrix(self.projection));
        projected += &self.vector(self.projection_bias);
        self.normalize(&self.projection_norm, &mut projected);
        for (index, branch) in self.branches.iter().enumerate() {
            let input = columns(&projected, index * BRANCH, BRANCH);
            let first = self.convolve(branch, 0, input);
            let second = self.convolve(branch, 1, first.view());
            let at = DIMENSIONS + index * BRANCH;
            let place = Slice::from(at..at + BRANCH);
            features.slice_axis_mut(Axis(1), place).assign(&second);
        }
        self.normalize(&self.norm, &mut features);
        Ok(features)
    }

    /// One of the convolutions, added to what went in; outside of the text there is nothing.
    fn convolve(&self, branch: &Branch, which: usize, input: ArrayView2<'_, f32>) -> Array2<f32> {
        let count = input.nrows();
        let all = self.matrix(branch.weights[which]);
        let mut out = Array2::<f32>::zeros((count, BRANCH));
        for place in 0..branch.window {
            // Piece `at` sees piece `at + place - before` here, if there is one.
            let skipped = branch.before.saturating_sub(place);
            let ahead = place.saturating_sub(branch.before);
            if skipped + ahead >= count {
                continue;
            }
            let seen = input.slice_axis(Axis(0), Slice::from(ahead..count - skipped));
            let weights = Slice::from(place * BRANCH..(place + 1) * BRANCH);
            let weights = all.slice_axis(Axis(0), weights);
            let mut about = out.slice_axis_mut(Axis(0), Slice::from(skipped..count - ahead));
            general_mat_mul(1.0, &seen, &weights, 1.0, &mut about);
        }
        out += &self.vector(branch.biases[which]);
        out.mapv_inplace(|number| number.max(0.0));
        out += &input;
        out
    }

    fn normalize(&self, norm: &Norm, rows: &mut Array2<f32>) {
        let (gain, bias) = (self.vector(norm.gain), self.vector(norm.bias));
        for mut row in rows.rows_mut() {
            let count = row.len() as f32;
            let mean = row.sum() / count;
            row -= mean;
            let variance = row.dot(&row) / count;
            row /= (variance + self.epsilon).sqrt();
            row *= &gain;
            row += &bias;
        }
    }

    /// The layers behind the mean of the pieces.
    fn judge(&self, mean: &Array1<f32>) -> Array1<f32> {
        let [d0, d1, d2, d3] = self.deep;
        let [p1, p3] = self.skip;
        let first = positive(self.times(mean, d0));
        let second = positive(self.times(mean, p1) + self.times(&first, d1));
        let third = positive(self.times(&second, d2));
        let mut vector = (self.times(&second, p3) + self.times(&third, d3)).mapv_into(f32::tanh);
        let length = vector.dot(&vector).max(self.epsilon).sqrt();
        vector /= length;
        vector
    }

    /// A row times a matrix, which is read from its begin to its end: by columns, as `dot` does it,
    /// takes several times as long.
    fn times(&self, row: &Array1<f32>, matrix: Place) -> Array1<f32> {
        let mut out = Array1::<f32>::zeros(matrix.columns);
        for (number, weights) in row.iter().zip(self.matrix(matrix).rows()) {
            out.scaled_add(*number, &weights);
        }
        out
    }
}

/// So many columns, from `first` on.
fn columns(rows: &Array2<f32>, first: usize, count: usize) -> ArrayView2<'_, f32> {
    rows.slice_axis(Axis(1), Slice::from(first..first + count))
}

fn positive(numbers: Array1<f32>) -> Array1<f32> {
    numbers.mapv_into(|number| number.max(0.0))
}
