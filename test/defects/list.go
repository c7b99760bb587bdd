package defects

const (
	consumer    = "./internal/consumer"
	ledger      = "./internal/ledger"
	ratelimit   = "./internal/ratelimit"
	deadletters = "./internal/deadletter"
	aliyun      = "./internal/aliyun"
	broker      = "./internal/broker"
	e2e         = "./test/e2e"
)

var (
	oneJob = Test{consumer, "TestModel/one_job"} // the model's search over one job
	dying  = Test{consumer, "TestDyingAtAnyEffect"}
)

// All lists the defects.
func All() []Defect {
	return []Defect{
		{
			Name: "ack before record", File: "internal/consumer/apply.go",
			Old: `	{"record", (*Consumer).effectRecord},
	{"reply", (*Consumer).effectReply},
	{"finish", (*Consumer).effectFinish},
`,
			New: `	{"finish", (*Consumer).effectFinish},
	{"record", (*Consumer).effectRecord},
	{"reply", (*Consumer).effectReply},
`,
			Breaks:   "nothing is lost",
			CaughtBy: []Test{oneJob, dying, {consumer, "TestOrderOfEffects"}},
		},
		{
			Name: "claim after send", File: "internal/consumer/process.go",
			Old: `	claim, err := c.claim(work, t, earlierLife(t, first))
	if err != nil {
		return err
	}
	switch claim.State {
	case domain.ClaimWon, domain.ClaimReopened:
		c.announced(t)
		if claim.State == domain.ClaimWon {
			if since, forgotten, err := c.forgotten(work, t); err != nil || forgotten {
				return c.recoverForgotten(work, t, since, err)
			}
		}
		if t.rec.Status == passcode.StatusInDoubt {
			return c.lookUp(work, t)
		}
		return c.attempt(work, t, turn)
`,
			New: `	if _, err := c.limiter.Reserve(work, t.phone, t.rec.RequestID, 1); err != nil {
		return err
	}
	turn.use()
	out := c.sender.Send(work, domain.Message{
		RequestID: t.rec.RequestID, Phone: t.phone, Code: t.job.Code, UsageType: t.job.UsageType, Params: t.job.Params,
	}, t.begun.Add(c.callFence))
	claim, err := c.claim(work, t, first)
	if err != nil {
		return err
	}
	switch claim.State {
	case domain.ClaimWon, domain.ClaimReopened:
		c.announced(t)
		return c.apply(work, t, c.policy.settleOutcome(t.rec, out, c.now()))
`,
			Breaks:   "nothing is sent twice",
			CaughtBy: []Test{oneJob, dying, {consumer, "TestDuplicates"}},
		},
		{
			Name: "limiter without compare-and-swap", File: "internal/bucket/change.go",
			Old: `	revision, err := c.server.Swap(ctx, c.key, value, over)
`,
			New: `	revision, err := c.server.Swap(ctx, c.key, value, over)
	for errors.Is(err, ErrConflict) {
		newest, getErr := c.server.Get(ctx, c.key)
		if getErr != nil {
			return getErr
		}
		revision, err = c.server.Swap(ctx, c.key, value, newest.Revision)
	}
`,
			Breaks:   "no limit is exceeded",
			CaughtBy: []Test{{ratelimit, "TestRaceForOnePhone"}, {ratelimit, "TestConflictIsJudgedAgain"}},
		},
		{
			Name: "a repeated job is sent", File: "internal/consumer/process.go",
			Old: `		return c.resume(work, t, turn)
	case domain.ClaimDuplicate:
		return c.duplicate(t)
`,
			New: `		return c.resume(work, t, turn)
	case domain.ClaimDuplicate:
		return c.nextAttempt(work, t, turn)
`,
			Breaks:   "nothing is sent twice",
			CaughtBy: []Test{{consumer, "TestModel/a_repeated_job"}, {consumer, "TestDuplicates"}},
			Also:     []Test{{e2e, "TestRepeatedJob"}},
		},
		{
			Name: "a replay opens what is final", File: "internal/domain/claim.go",
			Old:      `	case first.Replays > stored.Replays && stored.Status.Replayable():`,
			New:      `	case first.Replays > stored.Replays:`,
			Breaks:   "nothing is sent twice",
			CaughtBy: []Test{{consumer, "TestReplayOfASentRequest"}, {ledger, "TestConformance"}},
		},
		{
			Name: "a replay takes a duplicate for stored", File: "internal/deadletter/replay.go",
			Old:      `		duplicate = ack.Duplicate && !inDoubt`,
			New:      `		duplicate = ack == nil`,
			Breaks:   "nothing is lost",
			CaughtBy: []Test{{deadletters, "TestAQueuedReplayIsTakenUpWhileWaiting"}},
		},
		{
			Name: "a known message id is taken for a dead letter", File: "internal/deadletter/write.go",
			Old:      `		case err == nil && ack.Duplicate && !idTaken:`,
			New:      `		case err == nil && ack == nil:`,
			Breaks:   "what needs an operator has a dead letter",
			CaughtBy: []Test{{deadletters, "TestARecreatedStreamCountsFromTheStart"}},
		},
		{
			Name: "a replay is taken for the job whose place it has", File: "internal/domain/claim.go",
			Old:      `	return rec.StreamSeq == seq && rec.Replays == replays`,
			New:      `	return rec.StreamSeq == seq`,
			Breaks:   "nothing is lost",
			CaughtBy: []Test{{ledger, "TestConformance"}},
		},
		{
			Name: "a request whose job is gone is left alone", File: "internal/consumer/orphan.go",
			Old:      `	return !waits, nil`,
			New:      `	return waits && !waits, nil`,
			Breaks:   "nothing is lost",
			CaughtBy: []Test{{consumer, "TestModel/a_repeated_job_whose_first_is_gone"}, {consumer, "TestRepeatOfARequestWhoseJobIsGone"}},
			Also:     []Test{{e2e, "TestRepeatedAfterTheirStreamWasLost"}},
		},
		{
			Name: "a replay does not look at the record", File: "internal/deadletter/plan.go",
			Old:      `	case record != nil && !record.Status.Replayable():`,
			New:      `	case record != nil && record.Status == "":`,
			Breaks:   "nothing is sent twice",
			CaughtBy: []Test{{deadletters, "TestDecide"}},
		},
		{
			Name: "a replay forgets a doubt", File: "internal/ledger/claim.go",
			Old:      `	doubt := domain.MayBeSent(stored)`,
			New:      `	doubt := domain.MayBeSent(first)`,
			Breaks:   "nothing is sent twice",
			CaughtBy: []Test{{consumer, "TestModel/a_late_replay_of_an_unknown_that_Aliyun_took"}, {consumer, "TestEveryStory"}},
			Also:     []Test{{ledger, "TestConformance/memory/a_replay_carries_a_doubt_over"}},
		},
		{
			Name: "a replay without its record asks nobody", File: "internal/consumer/process.go",
			Old:      `	if t.replays == 0 || t.attempted.IsZero() {`,
			New:      `	if t.replays >= 0 {`,
			Breaks:   "nothing is sent twice",
			CaughtBy: []Test{{consumer, "TestEveryStory"}, dying},
			Also:     []Test{{e2e, "TestReplayOfAnUnknownWithoutItsRecord"}},
		},
		{
			Name: "look-up skipped", File: "internal/consumer/resume.go",
			Old:      `	found, err := c.sender.Lookup(ctx, t.phone, t.rec.RequestID, firstAttempt(t))`,
			New:      `	found, err := domain.Finding{}, error(nil)`,
			Breaks:   "nothing is sent twice",
			CaughtBy: []Test{oneJob, dying, {consumer, "TestPoison"}},
			Also:     []Test{{e2e, "TestAcceptedAndDropped"}},
		},
		{
			Name: "no fence around a call", File: "internal/consumer/process.go",
			Old:      `	}, t.begun.Add(c.callFence))`,
			New:      `	}, t.begun.Add(24*time.Hour))`,
			Breaks:   "nothing is sent twice",
			CaughtBy: []Test{oneJob},
		},
		{
			Name: "the fence is not asked before a write", File: "internal/aliyun/wire/fence.go",
			Old:      `	if a.notAfter.IsZero() {`,
			New:      `	if a.notAfter.IsZero() || a.cancel != nil {`,
			Breaks:   "nothing is sent twice",
			CaughtBy: []Test{{aliyun, "TestSendWritesNothingPastTheFence"}},
		},
		{
			Name: "a look-up is as young as its answer", File: "internal/consumer/settle.go",
			Old:      `		asked = rec.LookupBeganAt`,
			New:      `		asked = now`,
			Breaks:   "nothing is sent twice",
			CaughtBy: []Test{oneJob, {consumer, "TestALookUpIsAsOldAsItsQuestion"}},
		},
		{
			Name: "an attempt right after a worker went away", File: "internal/consumer/settle.go",
			Old:      `		record: rec.In(passcode.StatusInDoubt),`,
			New:      `		record: rec.In(passcode.StatusRetrying),`,
			Breaks:   "nothing is sent twice",
			CaughtBy: []Test{oneJob, dying, {consumer, "TestSettleInterrupted"}},
		},
		{
			Name: "reservation not idempotent", File: "internal/ratelimit/decide.go",
			Old: `	local, now := now, d.latest(now)
	own, others := d.split(id)
`,
			New: `	local, now := now, d.latest(now)
	own, others := (*entry)(nil), d
`,
			Breaks:   "no limit is exceeded, and none is used up by one request",
			CaughtBy: []Test{{ratelimit, "TestConformance/memory"}, {ratelimit, "TestSameRequestAtOnce"}},
		},
		{
			Name: "a late worker gives the place back", File: "internal/ratelimit/decide.go",
			Old:      `	if own == nil || own.Revision > revision {`,
			New:      `	if own == nil {`,
			Breaks:   "no limit is exceeded",
			CaughtBy: []Test{{ratelimit, "TestConformance/memory"}, {consumer, "TestModel/a_refusal_that_a_worker_learns_late"}},
		},
		{
			Name: "dead letter after record", File: "internal/consumer/apply.go",
			Old: `	{"dead letter", (*Consumer).effectDeadLetter},
	{"close phone", (*Consumer).effectClosePhone},
	{"release", (*Consumer).effectRelease},
	{"record", (*Consumer).effectRecord},
`,
			New: `	{"close phone", (*Consumer).effectClosePhone},
	{"release", (*Consumer).effectRelease},
	{"record", (*Consumer).effectRecord},
	{"dead letter", (*Consumer).effectDeadLetter},
`,
			Breaks:   "what needs an operator has a dead letter",
			CaughtBy: []Test{{consumer, "TestModel/a_request_that_is_refused"}, dying},
		},
		{
			Name: "result not announced again", File: "internal/consumer/resume.go",
			Old: `	if err := c.announceAgain(t, t.rec); err != nil {
		return err
	}
`,
			Breaks:   "what is recorded is announced",
			CaughtBy: []Test{oneJob, {consumer, "TestFinalAndDeliveredAgain"}},
		},
		{
			Name: "result not announced", File: "internal/broker/topology.go",
			Old:      `	c.RePublish = &jetstream.RePublish{`,
			New:      `	_ = &jetstream.RePublish{`,
			Breaks:   "what is recorded is announced",
			CaughtBy: []Test{{broker, "TestBucketsAreWhatTheClientLibraryMakes"}},
			Also:     []Test{{broker, "TestARecordIsRepublished"}},
		},
		{
			Name: "a late worker overwrites what another did", File: "internal/consumer/apply.go",
			Old:      `	if !v.certain || !sameAttempt {`,
			New:      `	if !v.certain && !sameAttempt {`,
			Breaks:   "a final record stays as it is",
			CaughtBy: []Test{{consumer, "TestModel/an_attempt_that_is_refused_for_now"}, {consumer, "TestKnowingBeatsDoubting"}},
		},
		{
			Name: "a replay of an unknown expires unasked", File: "internal/consumer/process.go",
			Old:      `		return c.lookUp(ctx, t)`,
			New:      `		t.rec.Status = passcode.StatusSending`,
			Breaks:   "what Aliyun took is sent, or unknown",
			CaughtBy: []Test{{consumer, "TestEveryStory"}, dying},
		},
	}
}
