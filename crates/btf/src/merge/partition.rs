//! Nodes in classes that are split until none can be told from another of its class.

/// Nodes `0..n`, each in one class. A class is a range of `order`.
pub(super) struct Partition {
    order: Vec<u32>,
    place: Vec<u32>,
    class: Vec<u32>,
    first: Vec<u32>,
    end: Vec<u32>,
    /// How many of a class, from its first, are marked.
    marked: Vec<u32>,
    touched: Vec<u32>,
}

/// Edges by the node that they go to: which edge of which node it is.
pub(super) struct Edges {
    starts: Vec<usize>,
    /// Number of the edge at its node, and that node.
    from: Vec<(u32, u32)>,
}

impl Edges {
    /// Sorts edges `(from, number, to)` by where they go.
    pub(super) fn new(nodes: usize, edges: impl Iterator<Item = (u32, u32, u32)> + Clone) -> Edges {
        let mut starts = vec![0usize; nodes + 1];
        for (_, _, to) in edges.clone() {
            starts[to as usize] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut list = vec![(0, 0); sum];
        for (from, number, to) in edges {
            let end = &mut starts[to as usize];
            *end -= 1;
            list[*end] = (number, from);
        }
        Edges { starts, from: list }
    }

    fn to(&self, node: u32) -> &[(u32, u32)] {
        let node = node as usize;
        &self.from[self.starts[node]..self.starts[node + 1]]
    }
}

impl Partition {
    /// Begins with these classes, numbered from 0 without gaps, by node.
    pub(super) fn new(class: Vec<u32>) -> Partition {
        let count = class.iter().max().map_or(0, |&last| last as usize + 1);
        let mut end = vec![0u32; count];
        for &class in &class {
            end[class as usize] += 1;
        }
        let mut sum = 0;
        for end in &mut end {
            sum += *end;
            *end = sum;
        }
        let mut first = end.clone();
        let mut order = vec![0; class.len()];
        let mut place = vec![0; class.len()];
        for (node, &class) in class.iter().enumerate() {
            let first = &mut first[class as usize];
            *first -= 1;
            order[*first as usize] = node as u32;
            place[node] = *first;
        }
        Partition {
            order,
            place,
            class,
            marked: vec![0; count],
            first,
            end,
            touched: Vec::new(),
        }
    }

    /// Gives the class of each node.
    pub(super) fn classes(self) -> Vec<u32> {
        self.class
    }

    /// Splits classes until the edges of all nodes of a class go, number by number, to the same
    /// classes. Nodes of a class have the same number of edges.
    ///
    /// The smaller part of what is split gets the new number and is looked at again, so that each
    /// edge is looked at as many times as its end can halve its class (Hopcroft's algorithm).
    pub(super) fn refine(&mut self, edges: &Edges) {
        let mut open: Vec<u32> = (0..self.first.len() as u32).collect();
        let mut into: Vec<(u32, u32)> = Vec::new();
        while let Some(class) = open.pop() {
            let class = class as usize;
            let members = self.first[class] as usize..self.end[class] as usize;
            into.clear();
            for &node in &self.order[members] {
                into.extend_from_slice(edges.to(node));
            }
            into.sort_unstable();
            for group in into.chunk_by(|one, two| one.0 == two.0) {
                for &(_, node) in group {
                    self.mark(node);
                }
                self.split(&mut open);
            }
        }
    }

    fn mark(&mut self, node: u32) {
        let class = self.class[node as usize] as usize;
        let to = self.first[class] + self.marked[class];
        let at = self.place[node as usize];
        if at < to {
            return;
        }
        if self.marked[class] == 0 {
            self.touched.push(class as u32);
        }
        let other = self.order[to as usize];
        self.order.swap(at as usize, to as usize);
        self.place[other as usize] = at;
        self.place[node as usize] = to;
        self.marked[class] += 1;
    }

    fn split(&mut self, open: &mut Vec<u32>) {
        while let Some(class) = self.touched.pop() {
            let at = class as usize;
            let (first, end) = (self.first[at], self.end[at]);
            let middle = first + core::mem::take(&mut self.marked[at]);
            if middle == end {
                continue;
            }
            let new = self.first.len() as u32;
            let part = if middle - first <= end - middle {
                self.first[at] = middle;
                first..middle
            } else {
                self.end[at] = middle;
                middle..end
            };
            for &node in &self.order[part.start as usize..part.end as usize] {
                self.class[node as usize] = new;
            }
            self.first.push(part.start);
            self.end.push(part.end);
            self.marked.push(0);
            open.push(new);
        }
    }
}
