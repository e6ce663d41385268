//! A sequence of items that finds, inserts and removes by rank in O(log n): a B-tree whose inner nodes count.
//!
//! It knows no order of its own: who inserts says at which rank, and finds ranks by [`Order::partition`].

/// A leaf holds so many items at most.
const LEAF_MAX: usize = 64;
/// An inner node has so many children at most.
const INNER_MAX: usize = 32;

/// A score, and the slot of its member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Item {
    /// The score.
    pub(super) score: f64,
    /// Where the member stands.
    pub(super) slot: u32,
}

#[derive(Clone, Debug)]
enum Node {
    Leaf(Vec<Item>),
    Inner(Vec<Child>),
}

#[derive(Clone, Debug)]
struct Child {
    /// Items below it.
    count: usize,
    /// The first of them.
    first: Item,
    node: Node,
}

impl Child {
    /// `None` for a node without items.
    fn new(node: Node) -> Option<Child> {
        let (count, first) = match &node {
            Node::Leaf(items) => (items.len(), *items.first()?),
            Node::Inner(children) => (children.iter().map(|child| child.count).sum(), children.first()?.first),
        };
        Some(Child { count, first, node })
    }
}

impl Node {
    fn width(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Inner(children) => children.len(),
        }
    }

    fn width_max(&self) -> usize {
        match self {
            Node::Leaf(_) => LEAF_MAX,
            Node::Inner(_) => INNER_MAX,
        }
    }

    /// Takes a part of a node that is too wide out of it. `at_end`: it grew at its end, where it will grow on, so what is
    /// left stays full.
    fn split(&mut self, at_end: bool) -> Option<Node> {
        let (width, max) = (self.width(), self.width_max());
        if width <= max {
            return None;
        }
        let at = if at_end { max } else { width / 2 };
        Some(match self {
            Node::Leaf(items) => Node::Leaf(items.split_off(at)),
            Node::Inner(children) => Node::Inner(children.split_off(at)),
        })
    }

    fn insert(&mut self, rank: usize, item: Item) -> Option<Node> {
        let at_end = match self {
            Node::Leaf(items) => {
                items.insert(rank.min(items.len()), item);
                rank + 1 == items.len()
            }
            Node::Inner(children) => {
                let last = children.len() - 1;
                let (mut at, mut rank) = (0, rank);
                // Behind the last item of a child is before the first of the next.
                while at < last && rank > children[at].count {
                    rank -= children[at].count;
                    at += 1;
                }
                let child = &mut children[at];
                child.count += 1;
                if rank == 0 {
                    child.first = item;
                }
                if let Some(new) = child.node.insert(rank, item).and_then(Child::new) {
                    child.count -= new.count;
                    children.insert(at + 1, new);
                }
                at == last
            }
        };
        self.split(at_end)
    }

    fn remove(&mut self, rank: usize) {
        match self {
            Node::Leaf(items) => {
                if rank < items.len() {
                    items.remove(rank);
                }
            }
            Node::Inner(children) => {
                let Some((at, rank)) = child_of(children, rank) else { return };
                let child = &mut children[at];
                child.node.remove(rank);
                match Child::new(std::mem::replace(&mut child.node, Node::Leaf(Vec::new()))) {
                    Some(left) => *child = left,
                    None => {
                        children.remove(at);
                        return;
                    }
                }
                if children[at].node.width() < children[at].node.width_max() / 4 {
                    merge(children, at);
                }
            }
        }
    }

    fn replace(&mut self, rank: usize, item: Item) {
        match self {
            Node::Leaf(items) => {
                if let Some(place) = items.get_mut(rank) {
                    *place = item;
                }
            }
            Node::Inner(children) => {
                let Some((at, rank)) = child_of(children, rank) else { return };
                if rank == 0 {
                    children[at].first = item;
                }
                children[at].node.replace(rank, item);
            }
        }
    }
}

/// The child that holds a rank, and the rank within it.
fn child_of(children: &[Child], mut rank: usize) -> Option<(usize, usize)> {
    for (at, child) in children.iter().enumerate() {
        if rank < child.count {
            return Some((at, rank));
        }
        rank -= child.count;
    }
    None
}

/// Puts a narrow child and a neighbour together, where that leaves room.
fn merge(children: &mut Vec<Child>, at: usize) {
    let neighbours = [at.checked_sub(1), Some(at)];
    for left in neighbours.into_iter().flatten().filter(|left| left + 1 < children.len()) {
        let (a, b) = (&children[left].node, &children[left + 1].node);
        if a.width() + b.width() > a.width_max() * 3 / 4 {
            continue;
        }
        let right = children.remove(left + 1);
        let child = &mut children[left];
        child.count += right.count;
        match (&mut child.node, right.node) {
            (Node::Leaf(items), Node::Leaf(more)) => items.extend(more),
            (Node::Inner(inner), Node::Inner(more)) => inner.extend(more),
            // All leaves stand at one depth.
            (_, node) => children.extend(Child::new(node)),
        }
        return;
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Order {
    root: Node,
}

impl Default for Order {
    fn default() -> Self {
        Self { root: Node::Leaf(Vec::new()) }
    }
}

impl Order {
    /// From items in order.
    pub(super) fn new(items: Vec<Item>) -> Self {
        let mut level: Vec<Child> =
            items.chunks(LEAF_MAX * 3 / 4).filter_map(|chunk| Child::new(Node::Leaf(chunk.to_vec()))).collect();
        while level.len() > 1 {
            let mut children = level.into_iter().peekable();
            let mut above = Vec::new();
            while children.peek().is_some() {
                let group: Vec<Child> = children.by_ref().take(INNER_MAX * 3 / 4).collect();
                above.extend(Child::new(Node::Inner(group)));
            }
            level = above;
        }
        level.pop().map_or_else(Order::default, |child| Order { root: child.node })
    }

    /// How many items, from the first on, `before` holds for.
    pub(super) fn partition(&self, before: impl Fn(&Item) -> bool) -> usize {
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(items) => return rank + items.partition_point(&before),
                Node::Inner(children) => {
                    let at = children.partition_point(|child| before(&child.first));
                    let Some(last) = at.checked_sub(1) else { return rank };
                    rank += children[..last].iter().map(|child| child.count).sum::<usize>();
                    node = &children[last].node;
                }
            }
        }
    }

    /// Puts an item at a rank.
    pub(super) fn insert(&mut self, rank: usize, item: Item) {
        if let Some(right) = self.root.insert(rank, item) {
            let left = std::mem::replace(&mut self.root, Node::Leaf(Vec::new()));
            self.root = Node::Inner([left, right].into_iter().filter_map(Child::new).collect());
        }
    }

    /// Takes the item at a rank out.
    pub(super) fn remove(&mut self, rank: usize) {
        self.root.remove(rank);
        while let Node::Inner(children) = &mut self.root {
            match children.len() {
                0 => self.root = Node::Leaf(Vec::new()),
                1 => {
                    let Some(only) = children.pop() else { return };
                    self.root = only.node;
                }
                _ => break,
            }
        }
    }

    /// Puts an item in place of the one at a rank.
    pub(super) fn replace(&mut self, rank: usize, item: Item) {
        self.root.replace(rank, item);
    }

    /// The leaf that holds a rank, and the rank of its first item; an empty one for a rank that is none.
    pub(super) fn leaf(&self, mut rank: usize) -> (&[Item], usize) {
        let (mut node, mut start) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(items) => return (items, start),
                Node::Inner(children) => {
                    let Some((at, within)) = child_of(children, rank) else { return (&[], start) };
                    start += rank - within;
                    rank = within;
                    node = &children[at].node;
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn leaf_count(&self) -> usize {
        fn count(node: &Node) -> usize {
            match node {
                Node::Leaf(_) => 1,
                Node::Inner(children) => children.iter().map(|child| count(&child.node)).sum(),
            }
        }
        count(&self.root)
    }
}
