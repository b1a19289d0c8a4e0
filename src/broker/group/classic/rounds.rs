//! The rounds of a group: a rebalance begins, goes on when all have joined or time is up, and begins again when someone
//! is silent.

use std::collections::BTreeSet;

use super::{Answer, ClassicGroup, JoinTimer, Phase, Turn};
use crate::error::ErrorCode;
use crate::time::{Duration, Instant, deadline};

/// What is due, of all that may be.
#[derive(Debug)]
enum Due {
    Join,
    Sync,
    Member(String),
    Pending(String),
}

impl ClassicGroup {
    pub(super) fn rebalance_or_go_on(&mut self, turn: &Turn<'_>) {
        if self.phase == Phase::PreparingRebalance {
            self.go_on_if_all_joined(turn);
        } else {
            self.prepare_rebalance(turn);
        }
    }

    /// Ends the joining early, except in a first rebalance, which has its own time.
    pub(super) fn go_on_if_all_joined(&mut self, turn: &Turn<'_>) {
        let joining = self.phase == Phase::PreparingRebalance;
        if joining && self.came_from != Phase::Empty && self.all_joined() {
            self.complete_join(turn);
        }
    }

    pub(super) fn prepare_rebalance(&mut self, turn: &Turn<'_>) {
        if self.phase == Phase::CompletingRebalance {
            self.give_out_assignments(turn.now, Err(ErrorCode::REBALANCE_IN_PROGRESS));
        }
        self.unsynced.clear();
        self.sync_timer = None;
        self.came_from = self.phase;
        self.phase = Phase::PreparingRebalance;
        if self.came_from == Phase::Empty {
            let delay = turn.settings.initial_rebalance_delay;
            let remaining = self.rebalance_timeout().saturating_sub(delay);
            let at = deadline(turn.now, delay);
            self.join_timer = Some(JoinTimer::Initial { at, delay, remaining });
        } else if self.all_joined() {
            self.complete_join(turn);
        } else {
            self.wait_for_the_rest(turn);
        }
    }

    fn wait_for_the_rest(&mut self, turn: &Turn<'_>) {
        let at = deadline(turn.now, self.rebalance_timeout());
        self.join_timer = Some(JoinTimer::Final { at });
    }

    /// Begins the next generation with those who have joined. Static members stay though they have not: their sessions
    /// decide.
    fn complete_join(&mut self, turn: &Turn<'_>) {
        self.join_timer = None;
        let missing =
            |member: &&super::Member| member.joining.is_none() && member.instance_id.is_none();
        let missing: Vec<String> =
            self.members.iter().filter(missing).map(|member| member.id.clone()).collect();
        for id in missing {
            self.remove(&id);
        }
        if !self.elect_leader() && !self.members.is_empty() {
            return self.wait_for_the_rest(turn);
        }
        self.generation += 1;
        self.unsynced.clear();
        self.new_member_added = false;
        self.protocol = self.elect_protocol();
        self.came_from = self.phase;
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            return self.write_record();
        }
        self.phase = Phase::CompletingRebalance;
        let ids: Vec<String> = self.members.iter().map(|member| member.id.clone()).collect();
        for id in ids {
            let response = self.joined(&id, true);
            let Some(member) = self.member_mut(&id) else { continue };
            member.is_new = false;
            if let Some(ticket) = member.joining.take() {
                self.answers.push((ticket, Answer::Join(response)));
            }
            self.heard_of(turn.now, &id);
            self.unsynced.insert(id);
        }
        self.sync_timer = Some(deadline(turn.now, self.rebalance_timeout()));
    }

    /// Whether someone who has joined leads.
    fn elect_leader(&mut self) -> bool {
        let joined = |id: &String| self.member(id).is_some_and(|member| member.joining.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let other = self.members.iter().find(|member| member.joining.is_some());
        match other.map(|member| member.id.clone()) {
            Some(id) => {
                self.leader = Some(id);
                true
            }
            None => false,
        }
    }

    /// Takes a member out and lets the others rebalance.
    pub(super) fn member_is_gone(&mut self, turn: &Turn<'_>, id: &str) {
        self.remove(id);
        match self.phase {
            Phase::Stable | Phase::CompletingRebalance => self.rebalance_or_go_on(turn),
            Phase::PreparingRebalance if self.all_joined() => self.complete_join(turn),
            Phase::PreparingRebalance | Phase::Empty => {}
        }
    }

    // ---- time -------------------------------------------------------------------------------------------------------

    /// When [`ClassicGroup::advance`] has something to do next.
    pub(in crate::broker::group) fn next_deadline(&self) -> Option<Instant> {
        self.next_due().map(|(at, _)| at)
    }

    /// Whether [`ClassicGroup::advance`] has something to do.
    pub(in crate::broker::group) fn is_due(&self, now: Instant) -> bool {
        self.moved || self.next_deadline().is_some_and(|at| at <= now)
    }

    fn next_due(&self) -> Option<(Instant, Due)> {
        let members = self.members.iter();
        let members = members.filter_map(|m| Some((m.expires?, Due::Member(m.id.clone()))));
        let pending = self.pending.iter().map(|p| (p.expires, Due::Pending(p.id.clone())));
        let join = self.join_timer.map(|timer| (timer.at(), Due::Join));
        let sync = self.sync_timer.map(|at| (at, Due::Sync));
        members.chain(pending).chain(join).chain(sync).min_by_key(|&(at, _)| at)
    }

    /// Does what time has brought, in its order, each at its own time. Gives whether there was anything.
    pub(in crate::broker::group) fn advance(&mut self, turn: &Turn<'_>) -> bool {
        self.settle_in(turn.now);
        let mut changed = false;
        while let Some((at, due)) = self.next_due().filter(|&(at, _)| at <= turn.now) {
            changed = true;
            self.carry_out(&Turn { now: at, ..*turn }, due);
        }
        changed
    }

    fn carry_out(&mut self, turn: &Turn<'_>, due: Due) {
        match due {
            Due::Join => self.join_time_is_up(turn),
            Due::Sync => self.sync_time_is_up(turn),
            Due::Pending(id) => self.member_is_gone(turn, &id),
            Due::Member(id) => match self.member_mut(&id) {
                // Its next session begins when it is answered.
                Some(member) if member.is_excused() => member.expires = None,
                _ => self.member_is_gone(turn, &id),
            },
        }
    }

    fn join_time_is_up(&mut self, turn: &Turn<'_>) {
        match self.join_timer {
            Some(JoinTimer::Initial { delay, remaining, .. })
                if self.new_member_added && !remaining.is_zero() =>
            {
                self.new_member_added = false;
                let next: Duration = turn.settings.initial_rebalance_delay.min(remaining);
                self.join_timer = Some(JoinTimer::Initial {
                    at: deadline(turn.now, next),
                    delay: next,
                    remaining: remaining.saturating_sub(delay),
                });
            }
            _ => self.complete_join(turn),
        }
    }

    /// Those whose SyncGroup has not come are dropped.
    fn sync_time_is_up(&mut self, turn: &Turn<'_>) {
        self.sync_timer = None;
        let missing: BTreeSet<String> = std::mem::take(&mut self.unsynced);
        if missing.is_empty() {
            return;
        }
        for id in &missing {
            self.remove(id);
        }
        self.prepare_rebalance(turn);
    }
}
