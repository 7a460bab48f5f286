//! Switches that each break one safety rule, so that the simulator can prove that it would notice.
//!
//! Without the feature `mutations`, which only the simulator's own test turns on, [`on`] is a constant `false` and every
//! switch is compiled away.

/// A rule and the way in which it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Replies leave before their entry is durable.
    SendBeforeDurable,
    /// A log batch is believed without its checksum.
    SkipLogChecksum,
    /// A snapshot's block is believed without its checksum.
    SkipSnapshotChecksum,
    /// A new segment's name is not synced.
    ForgetDirSyncOfSegment,
    /// A new snapshot's name is not synced.
    ForgetDirSyncOfSnapshot,
    /// A snapshot gets its name before its bytes are synced.
    ForgetSyncOfSnapshot,
    /// A full segment is left unsynced when the next begins.
    ForgetSyncAtRotate,
    /// What a reused file held before is taken for new batches.
    OldBatchesTakenForNew,
    /// A failed sync counts as done.
    SyncErrorIgnored,
    /// Segments are given back before the marks that make them useless are durable.
    ReclaimBeforeMarks,
    /// A gap left by unfinished removals is taken for loss.
    GapTakenForLoss,
    /// Segments go although nothing says again what they hold of registers.
    RegistersLetGo,
    /// A record that was moved forward drops newer ones.
    RewrittenRecordTruncates,
    /// A torn tail stops the node.
    TornTailTakenForRot,
    /// Durable bytes that changed are cut off as a torn tail.
    RotTakenForTornTail,
    /// Stamps are the wall clock's.
    RawWallClock,
    /// An entry's stamp counts as it is, even below the last one.
    StampGoesBack,
    /// A snapshot takes keys as they are when the walk comes by.
    SnapshotWithoutCopyOnWrite,
    /// A start campaigns in the old term.
    TermNotRaised,
    /// A new leader serves reads before its log is applied.
    ReadBeforeOwnEntry,
    /// A read sees a key until the next entry although its time has come.
    DeadKeysServedUntilNextEntry,
    /// A leader takes keys out for want of memory without an entry that says so.
    EvictsWithoutLog,
    /// EXEC does not look at what was watched.
    WatchIgnored,
    /// A read overtakes a write of its own connection.
    ReadOvertakesOwnWrite,
    /// Apply draws from chance that replicas don't share.
    HiddenChanceInApply,
    /// A command runs again under an id whose outcome is kept.
    OnceRunsAgain,
    /// A number up to its client's floor is taken for a new one.
    OnceFloorIgnored,
    /// Snapshots leave outcomes and floors out.
    OnceNotInSnapshot,
    /// A read under a fence that the shard hasn't seen is answered like any read: the floor doesn't rise.
    FenceReadRaisesNothing,
    /// A fence is looked at when its command has taken effect.
    FenceAfterEffect,
    /// Who has waited is served under a fence that has become too old meanwhile.
    WaiterServedUnderOldFence,
    /// Snapshots leave floors out.
    FloorsNotInSnapshot,
    /// GETFILL gives a token to each who asks.
    TwoFillersAtOnce,
    /// A token stays good although its key was changed.
    FillAfterWrite,
    /// Who came last is served first.
    NewestWaiterFirst,
    /// A write and those who wait for it are not one step: they are served by the next entry.
    WaitersServedLater,
    /// What a call was answered that may wait is not known when it is asked again.
    WaitAnswersForgotten,
    /// Those who wait under a leader wait on under the next one, whether anybody asks for them or not.
    WaitersOutliveLeader,
    /// What a script was tried out on is not put back.
    TrialLeavesTraces,
    /// A script runs while an entry before its own is not applied.
    ScriptOverUnapplied,
    /// What a script did before it was ended by force is kept.
    EndedScriptKept,
    /// Who is served is served twice, and answered once.
    WaiterServedTwice,
    /// Who is let go, for he is gone or was unblocked, stays in his line and takes what comes.
    WaiterLetGoStays,
    /// Those whose time is over are served all the same.
    WaitTimeIgnored,
    /// Snapshots leave those out who wait.
    WaitersNotInSnapshot,
    /// A leader commits what any one replica holds (R1).
    CommitWithoutQuorum,
    /// A notice of a log that was cut back since counts for the new one (R2).
    NoticeFromBeforeCut,
    /// A vote is given to a log that lacks entries (R3).
    VoteForOlderLog,
    /// Messages that speak of a term or a vote leave before that is durable (R4).
    TermNotDurable,
    /// A follower answers for entries that are not durable yet (R4).
    AckBeforeDurable,
    /// Entries of former terms commit by being held by a majority (R5).
    CommitOldTermDirectly,
    /// A restarted voter forgets what it promised (R6).
    NoQuarantine,
    /// A lease begins when its answer comes (R7).
    LeaseFromAnswer,
    /// A leader reads under its lease after it has asked another to take over (R7).
    LeaseKeptInTransfer,
    /// A snapshot replaces what is committed beyond it (R9).
    SnapshotOverCommitted,
    /// The last notice of durability counts, not the furthest (R10).
    NoticesInOrderOnly,
    /// A change of members doesn't wait for the former one (R11).
    SecondChangeUnwaited,
    /// Voters change without both majorities (R11).
    ChangeWithoutJoint,
    /// A committed entry is passed over (R12).
    ApplySkips,
    /// A process that was stopped serves what came meanwhile by the time of before (R15).
    NowReadBeforeInput,
    /// A node that lost its disk comes back under its old name (R16).
    LostDiskKeepsName,
    /// A voter that has gone on to another term still answers its former leader's heartbeats (R14).
    LeaseAcrossVote,
    /// A register's voter answers before its promise or acceptance is durable (hazard 9).
    AnswerBeforeDurable,
    /// A read tells what isn't durable.
    ReadBeforeDurable,
    /// A voter accepts what is below its promise.
    AcceptBelowPromise,
    /// A restarted voter takes every holder for expired (hazard 9).
    TimersForgottenAtStart,
    /// Any acceptance starts a holder's time again (hazard 21).
    PollingProlongs,
    /// A renewal keeps its number, so voters go on counting (hazard 21).
    RenewalUncounted,
    /// A proposer's ballots of one life are those of its next (hazard 13).
    IncarnationStands,
    /// A proposer goes on with its cached state after a refusal (hazard 13).
    CacheKeptOnRefusal,
    /// A lock is taken from an expired holder with a cached ballot (hazard 20).
    StealByCachedBallot,
    /// A lock is taken from a holder whom no quorum found expired (hazard 20).
    StealByOneVerdict,
    /// A refusal is told from what was cached (hazard 11).
    RefusalUnconfirmed,
    /// What a majority has from a former epoch counts as chosen (hazard 17).
    OldEpochCountsAsChosen,
    /// Voters of a former epoch go on while their registers are taken over (hazard 17).
    ScanWithoutSeal,
    /// A renewal may cut short what a later one was told (hazard 6).
    RenewalShortens,
    /// A fence is raised above those of grants that were made ahead (hazard 3).
    RaisedAboveThoseAhead,
    /// What was held before is given back when whoever asked for it again goes (hazard 5).
    ReentryReleased,
    /// A new voter takes over from one of the former voters (hazard 18).
    RescanOfOne,
    /// A new voter brings along what was accepted in its epoch, and doesn't promise what goes with it (hazard 13).
    RescanPromisesTooLittle,
    /// Messages of another epoch count (hazard 17).
    EpochIgnored,
    /// A sweep leaves the floors behind (hazard 3).
    SweepForgetsFloors,
    /// A register is swept whose state is perhaps not chosen (hazard 16).
    SweepUnchosen,
    /// Registers are forgotten that only a majority can do without (hazard 16).
    ForgottenByMost,
    /// Old proposals count for registers that are forgotten (hazard 16).
    ForgottenBallots,
    /// Proposals count for registers that are forgotten which a voter had promised before it took a newer state over (hazard 16).
    SweepForgetsPromises,
    /// A voter takes over from a sweep what is perhaps not chosen (hazard 16).
    SweepSpreadsUnchosen,
    /// A voter takes a grant or a renewal for one that it knows, for their numbers are alike (hazard 9).
    LeaseByNumbersAlone,
    /// An owner renews and releases by its name alone (hazard 5).
    LockTokenIgnored,
    /// A request that comes again is another (hazard 4).
    LockRetryForgotten,
    /// An owner's name alone gives it the grant that it holds already (hazard 22).
    LockTwinInherits,
    /// Who renews in a round is stolen from in the same one (hazard 6).
    StealFromRenewer,
    /// A grant that nobody was told of is given back although its owner has asked again and was told (hazard 4).
    GiveBackAfterRetry,
    /// The fence of a new grant is one more than the last that was in use, whatever was granted ahead since.
    FenceBelowThoseAhead,
    /// A grant that was made ahead is told though the holder has not given the lock back.
    ToldTooSoon,
    /// Those in line look no more when their home's round is lost (hazard 12).
    LineForgottenWithRound,
    /// A client counts its lease from the answer (hazard 7).
    LeaseCountsFromAnswer,
    /// A client that has waited takes its grant for a lease without renewing it (hazard 23).
    WaitedGrantTakenForLease,
    /// A try whose client has gone stays in flight.
    CancelledStaysInFlight,
    /// A swap begins the count of requests in flight anew.
    SwapForgetsInFlight,
    /// A removed endpoint goes on getting requests.
    DrainedIsPicked,
    /// Any number of endpoints is ejected at once.
    EjectionUncapped,
    /// An endpoint gets more than its breaker allows.
    BreakerOverfilled,
    /// A half-open breaker lets all through.
    HalfOpenLetsAllIn,
    /// Retries go beyond their budget.
    RetryBudgetIgnored,
    /// A try begins that can't end before its request's deadline.
    RetryPastDeadline,
    /// What may do harm twice is tried again.
    UnsafeRetried,
    /// More are inside than the limit allows.
    LimitIgnored,
    /// Any number of requests waits.
    QueueUnbounded,
    /// Who has waited past its deadline is let in.
    AdmittedPastDeadline,
    /// The least important goes first.
    LowClassFirst,
    /// Under overload the oldest goes first, and nobody's wait is cut short.
    OldestFirstInOverload,
    /// The time without load is what the first requests took, for ever.
    NoLoadNeverProbed,
    /// What is one user's is stored for all.
    CachePrivateStored,
    /// What answers credentials is stored for those without them.
    CacheAuthorizedStored,
    /// The age that a response came with isn't counted.
    CacheAgeUncounted,
    /// A response for one kind of request is given to another.
    CacheVaryIgnored,
    /// What is stale is given as if it were fresh.
    CacheStaleServed,
    /// What sets a cookie is stored.
    CacheSetCookieStored,
    /// What answers cookies is stored for others though it doesn't say that they may use it.
    CacheCookiesStored,
    /// A time is guessed for what answers cookies.
    CacheGuessedForCookies,
    /// A window for stale responses stands against `must-revalidate`.
    CacheWindowForbidden,
    /// A route's window stands beside `s-maxage`.
    CacheWindowBesideShared,
    /// A route's window stands for what was never fresh.
    CacheWindowOfNothing,
    /// A route's window stands before what the response says of its own.
    CacheWindowBeforeWord,
}

impl Mutation {
    /// Rules that one node keeps alone.
    pub const OF_A_NODE: [Self; 42] = [
        Self::SendBeforeDurable,
        Self::SkipLogChecksum,
        Self::SkipSnapshotChecksum,
        Self::ForgetDirSyncOfSegment,
        Self::ForgetDirSyncOfSnapshot,
        Self::ForgetSyncOfSnapshot,
        Self::ForgetSyncAtRotate,
        Self::OldBatchesTakenForNew,
        Self::SyncErrorIgnored,
        Self::ReclaimBeforeMarks,
        Self::GapTakenForLoss,
        Self::RegistersLetGo,
        Self::RewrittenRecordTruncates,
        Self::TornTailTakenForRot,
        Self::RotTakenForTornTail,
        Self::RawWallClock,
        Self::StampGoesBack,
        Self::SnapshotWithoutCopyOnWrite,
        Self::TermNotRaised,
        Self::ReadBeforeOwnEntry,
        Self::DeadKeysServedUntilNextEntry,
        Self::WatchIgnored,
        Self::ReadOvertakesOwnWrite,
        Self::HiddenChanceInApply,
        Self::OnceRunsAgain,
        Self::OnceFloorIgnored,
        Self::OnceNotInSnapshot,
        Self::FenceReadRaisesNothing,
        Self::FenceAfterEffect,
        Self::WaiterServedUnderOldFence,
        Self::FloorsNotInSnapshot,
        Self::TwoFillersAtOnce,
        Self::FillAfterWrite,
        Self::TrialLeavesTraces,
        Self::ScriptOverUnapplied,
        Self::EndedScriptKept,
        Self::NewestWaiterFirst,
        Self::WaitersServedLater,
        Self::WaiterServedTwice,
        Self::WaiterLetGoStays,
        Self::WaitTimeIgnored,
        Self::WaitersNotInSnapshot,
    ];
    /// Rules of the gateway.
    pub const OF_THE_GATEWAY: [Self; 15] = [
        Self::CancelledStaysInFlight,
        Self::SwapForgetsInFlight,
        Self::DrainedIsPicked,
        Self::EjectionUncapped,
        Self::BreakerOverfilled,
        Self::HalfOpenLetsAllIn,
        Self::RetryBudgetIgnored,
        Self::RetryPastDeadline,
        Self::UnsafeRetried,
        Self::LimitIgnored,
        Self::QueueUnbounded,
        Self::AdmittedPastDeadline,
        Self::LowClassFirst,
        Self::OldestFirstInOverload,
        Self::NoLoadNeverProbed,
    ];
    /// Rules of the gateway's cache.
    pub const OF_THE_CACHE: [Self; 12] = [
        Self::CachePrivateStored,
        Self::CacheAuthorizedStored,
        Self::CacheAgeUncounted,
        Self::CacheVaryIgnored,
        Self::CacheStaleServed,
        Self::CacheSetCookieStored,
        Self::CacheCookiesStored,
        Self::CacheGuessedForCookies,
        Self::CacheWindowForbidden,
        Self::CacheWindowBesideShared,
        Self::CacheWindowOfNothing,
        Self::CacheWindowBeforeWord,
    ];
    /// Rules that replicas keep together.
    pub const OF_A_GROUP: [Self; 18] = [
        Self::CommitWithoutQuorum,
        Self::NoticeFromBeforeCut,
        Self::VoteForOlderLog,
        Self::TermNotDurable,
        Self::AckBeforeDurable,
        Self::CommitOldTermDirectly,
        Self::NoQuarantine,
        Self::LeaseFromAnswer,
        Self::LeaseKeptInTransfer,
        Self::ReadBeforeOwnEntry,
        Self::SnapshotOverCommitted,
        Self::NoticesInOrderOnly,
        Self::SecondChangeUnwaited,
        Self::ChangeWithoutJoint,
        Self::ApplySkips,
        Self::LeaseAcrossVote,
        Self::NowReadBeforeInput,
        Self::LostDiskKeepsName,
    ];
    /// Rules of registers and locks.
    pub const OF_LOCKS: [Self; 36] = [
        Self::AnswerBeforeDurable,
        Self::ReadBeforeDurable,
        Self::AcceptBelowPromise,
        Self::TimersForgottenAtStart,
        Self::PollingProlongs,
        Self::RenewalUncounted,
        Self::IncarnationStands,
        Self::CacheKeptOnRefusal,
        Self::StealByCachedBallot,
        Self::StealByOneVerdict,
        Self::RefusalUnconfirmed,
        Self::OldEpochCountsAsChosen,
        Self::ScanWithoutSeal,
        Self::RescanOfOne,
        Self::RenewalShortens,
        Self::RaisedAboveThoseAhead,
        Self::ReentryReleased,
        Self::RescanPromisesTooLittle,
        Self::EpochIgnored,
        Self::SweepForgetsFloors,
        Self::SweepUnchosen,
        Self::ForgottenByMost,
        Self::ForgottenBallots,
        Self::SweepForgetsPromises,
        Self::SweepSpreadsUnchosen,
        Self::LeaseByNumbersAlone,
        Self::LockTokenIgnored,
        Self::LockRetryForgotten,
        Self::LockTwinInherits,
        Self::StealFromRenewer,
        Self::GiveBackAfterRetry,
        Self::FenceBelowThoseAhead,
        Self::ToldTooSoon,
        Self::LineForgottenWithRound,
        Self::LeaseCountsFromAnswer,
        Self::WaitedGrantTakenForLease,
    ];
}

#[cfg(not(feature = "mutations"))]
/// True if the rule is to be broken: never, in this build.
#[inline]
#[must_use]
pub const fn on(_: Mutation) -> bool {
    false
}

#[cfg(feature = "mutations")]
mod switch {
    use super::Mutation;
    use std::cell::Cell;

    thread_local! {
        static BROKEN: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// True if this thread breaks the rule.
    #[must_use]
    pub fn on(mutation: Mutation) -> bool {
        BROKEN.get() == Some(mutation)
    }

    /// This thread breaks the rule from now on, and no other.
    pub fn set(mutation: Option<Mutation>) {
        BROKEN.set(mutation);
    }
}

#[cfg(feature = "mutations")]
pub use switch::{on, set};
