//! In which order a replica executes what is committed: what a command depends on first; in a circle by sequence
//! number (Moraru, Andersen and Kaminsky 2013, section 4.3.3).

use super::*;

impl Replica {
    /// Executes all it can.
    pub(super) fn execute(&mut self, cx: &mut Cx<'_>) {
        if self.broken.is(&DEPENDENCIES_FIRST) {
            let committed = self.log.keys().filter(|at| self.is_committed(**at));
            for at in committed.copied().collect::<Vec<_>>() {
                self.run(at, cx);
            }
            return;
        }
        loop {
            let open = self.log.keys().filter(|at| !self.executed.contains(at));
            let Some(mut circle) = open.copied().find_map(|at| self.circle(at)) else {
                break;
            };
            let me = cx.me().0 as u8 + 1;
            let sequence = |at: &Instance| self.log.get(at).map(|(_, _, what)| what.sequence);
            if self.broken.is(&SEQUENCE_ORDER) {
                circle.sort_by_key(|at| (at.0 != me, *at));
            } else {
                circle.sort_by_key(|at| (sequence(at), *at));
            }
            for at in circle {
                self.run(at, cx);
            }
        }
        // It waits for what it has not heard of, and not for ever.
        for at in self.log.keys().copied().collect::<Vec<_>>() {
            let missing = self
                .dependencies(at)
                .filter(|on| !self.log.contains_key(on));
            missing.for_each(|on| self.watch(on, cx));
        }
    }

    fn run(&mut self, at: Instance, cx: &mut Cx<'_>) {
        if self.executed.contains(&at) {
            return;
        }
        self.executed.push(at);
        if let Some((
            _,
            _,
            Attributes {
                command: Some(command),
                ..
            },
        )) = self.log.get(&at)
        {
            cx.say(format_args!("executes {}", command.name));
        }
    }

    fn dependencies(&self, at: Instance) -> impl Iterator<Item = Instance> {
        let what = self.log.get(&at).filter(|_| self.is_committed(at));
        let all = what.into_iter().flat_map(|(_, _, what)| &what.dependencies);
        all.copied().filter(|on| !self.executed.contains(on))
    }

    /// What is not executed yet and must not be after `at`, directly or not.
    fn reachable(&self, at: Instance) -> BTreeSet<Instance> {
        let mut found = BTreeSet::from([at]);
        let mut next = vec![at];
        while let Some(at) = next.pop() {
            next.extend(self.dependencies(at).filter(|on| found.insert(*on)));
        }
        found
    }

    /// All that depends on `at` and on which `at` depends (a strongly connected component), if nothing else is in
    /// the way.
    fn circle(&self, at: Instance) -> Option<Vec<Instance>> {
        let reachable = self.reachable(at);
        let is_ready = reachable
            .iter()
            .all(|on| self.is_committed(*on) && self.reachable(*on).contains(&at));
        is_ready.then(|| reachable.into_iter().collect())
    }
}
