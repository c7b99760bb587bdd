package defects

const (
	consumer    = "./internal/consumer"
	model       = "./internal/consumer/model"
	ledger      = "./internal/ledger"
	ratelimit   = "./internal/ratelimit"
	deadletters = "./internal/deadletter"
	aliyun      = "./internal/aliyun"
	broker      = "./internal/broker"
	e2e         = "./test/e2e"
)

var (
	oneJob = Test{model, "TestModel/one_job"} // the model's search over one job
	dying  = Test{consumer, "TestDyingAtAnyEffect"}
)

// All lists the defects.
func All() []Defect {
	return []Defect{
		{
			Name: "ack before record", File: "internal/consumer/execute.go",
			Old: `	{"record", records, func(d decision) bool { return d.store }, executor.record},
	{"announce", nothing, func(d decision) bool { return d.store || d.again }, executor.announce},
	{"disposition", nothing, func(d decision) bool { return d.next == stageEnd }, executor.dispose},
`,
			New: `	{"disposition", nothing, func(d decision) bool { return d.next == stageEnd }, executor.dispose},
	{"record", records, func(d decision) bool { return d.store }, executor.record},
	{"announce", nothing, func(d decision) bool { return d.store || d.again }, executor.announce},
`,
			Breaks:   "nothing is lost",
			CaughtBy: []Test{oneJob, dying, {consumer, "TestOrderOfEffects"}},
		},
		{
			Name: "claim after send", File: "internal/consumer/stages.go",
			Old: `	wait := t.reserveAhead(ctx)
	claim, err := t.c.Ledger.Claim(ctx, first)
	t.reserved, t.known = wait()
	if err = t.c.ended("claim", records, err); err != nil {
		return nil, err
	}
	t.rec, t.revision = claim.Record, claim.Revision
	t.c.Metrics.Delivery(deliveries[claim.State])
	switch {
	case claim.State.Own():
		t.stored()
	case t.reserved: // for a request that is another job's
		t.reserved = false
		err = t.c.retry(ctx, "release", limits, func(ctx context.Context) error {
			return t.c.Limiter.Release(ctx, t.phone, t.rec.RequestID, 0)
		})
	}
	return t.judged(claim.State), err
}
`,
			New: `	var sent event = passed{}
	if t.goal == goalSend {
		if _, err := t.c.Limiter.Reserve(ctx, t.phone, t.rec.RequestID, 1, false); err != nil {
			return nil, err
		}
		sent, _ = t.send(ctx, d)
	}
	claim, err := t.c.Ledger.Claim(ctx, first)
	if err = t.c.ended("claim", records, err); err != nil {
		return nil, err
	}
	t.rec, t.revision = claim.Record, claim.Revision
	t.c.Metrics.Delivery(deliveries[claim.State])
	if claim.State.Own() {
		t.stored()
	}
	if _, no := sent.(passed); claim.State.Own() && !no {
		return sent, nil
	}
	return t.judged(claim.State), nil
}
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
			Name: "a repeated job is sent", File: "internal/consumer/decide.go",
			Old:      `		return decision{again: true, duplicate: true, note: "duplicate of a finished request"}`,
			New:      `		return decision{next: stageCount}`,
			Breaks:   "nothing is sent twice",
			CaughtBy: []Test{{model, "TestModel/a_repeated_job"}, {consumer, "TestDuplicates"}},
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
			CaughtBy: []Test{{deadletters, "TestReplayCutOffIsFinishedByTheNext/taken_up_while_waiting"}},
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
			Name: "a request whose job is gone is left alone", File: "internal/consumer/decide.go",
			Old:      `		if e.waits {`,
			New:      `		if e.waits || !e.waits {`,
			Breaks:   "nothing is lost",
			CaughtBy: []Test{{model, "TestModel/a_repeated_job_whose_first_is_gone"}, {consumer, "TestRepeatOfARequestWhoseJobIsGone"}},
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
			Name: "a replay forgets a doubt", File: "internal/ledger/ledger.go",
			Old:      `	doubt := domain.MayBeSent(stored)`,
			New:      `	doubt := domain.MayBeSent(first)`,
			Breaks:   "nothing is sent twice",
			CaughtBy: []Test{{model, "TestModel/a_late_replay_of_an_unknown_that_Aliyun_took"}, {consumer, "TestEveryStory"}},
			Also:     []Test{{ledger, "TestConformance/memory/a_replay_carries_a_doubt_over"}},
		},
		{
			Name: "a replay without its record asks nobody", File: "internal/consumer/decide.go",
			Old:      `	if rec.Replays == 0 || rec.AttemptedAt.IsZero() {`,
			New:      `	if rec.Replays >= 0 {`,
			Breaks:   "nothing is sent twice",
			CaughtBy: []Test{{consumer, "TestEveryStory"}, dying},
			Also:     []Test{{e2e, "TestReplayOfAnUnknownWithoutItsRecord"}},
		},
		{
			Name: "look-up skipped", File: "internal/consumer/stages.go",
			Old:      `	found, err := t.c.Sender.Lookup(ctx, t.phone, t.rec.RequestID, t.firstAttempt())`,
			New:      `	found, err := domain.Finding{}, error(nil)`,
			Breaks:   "nothing is sent twice",
			CaughtBy: []Test{oneJob, dying, {consumer, "TestPoison"}},
			Also:     []Test{{e2e, "TestAcceptedAndDropped"}},
		},
		{
			Name: "no fence around a call", File: "internal/consumer/stages.go",
			Old:      `	}, t.begun.Add(t.c.CallFence))`,
			New:      `	}, t.begun.Add(24*time.Hour))`,
			Breaks:   "nothing is sent twice",
			CaughtBy: []Test{oneJob},
		},
		{
			Name: "the fence is not asked before a write", File: "internal/aliyun/wire/exchange.go",
			Old:      `	if x.late(now) {`,
			New:      `	if now.IsZero() {`,
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
			Old: `	d.record, d.disposition, d.delay = rec.In(passcode.StatusInDoubt), nak, p.untilLookup(rec, now)
	return d
`,
			New: `	d.record, d.disposition, d.delay = rec.In(passcode.StatusRetrying), nak, p.untilLookup(rec, now)
	return d
`,
			Breaks:   "nothing is sent twice",
			CaughtBy: []Test{oneJob, dying, {consumer, "TestSettleInterrupted"}},
		},
		{
			Name: "reservation not idempotent", File: "internal/ratelimit/decide.go",
			Old: `	local, now := now, d.latest(now)
	own := d.take(id)
`,
			New: `	local, now := now, d.latest(now)
	own := entry{}
`,
			Breaks:   "no limit is exceeded, and none is used up by one request",
			CaughtBy: []Test{{ratelimit, "TestConformance/memory"}, {ratelimit, "TestSameRequestAtOnce"}},
		},
		{
			Name: "a late worker gives the place back", File: "internal/ratelimit/decide.go",
			Old:      `	if own.ID == "" || own.Revision > revision {`,
			New:      `	if own.ID == "" {`,
			Breaks:   "no limit is exceeded",
			CaughtBy: []Test{{ratelimit, "TestConformance/memory"}, {model, "TestModel/a_refusal_that_a_worker_learns_late"}},
		},
		{
			Name: "dead letter after record", File: "internal/consumer/execute.go",
			Old: `	{"dead letter", letters, func(d decision) bool { return d.letter != "" }, executor.writeDeadLetter},
	{"close phone", limits, func(d decision) bool { return d.closeFor > 0 }, executor.closePhone},
	{"release", limits, func(d decision) bool { return d.release }, executor.release},
	{"record", records, func(d decision) bool { return d.store }, executor.record},
`,
			New: `	{"close phone", limits, func(d decision) bool { return d.closeFor > 0 }, executor.closePhone},
	{"release", limits, func(d decision) bool { return d.release }, executor.release},
	{"record", records, func(d decision) bool { return d.store }, executor.record},
	{"dead letter", letters, func(d decision) bool { return d.letter != "" }, executor.writeDeadLetter},
`,
			Breaks:   "what needs an operator has a dead letter",
			CaughtBy: []Test{{model, "TestModel/a_request_that_is_refused"}, dying},
		},
		{
			Name: "result not announced again", File: "internal/consumer/execute.go",
			Old: `		if err := t.c.Announce(t.c.ResultSubject+"."+rec.RequestID, rec); err != nil {
			return t.c.ended("announce", nothing, err)
		}
`,
			Breaks:   "what is recorded is announced",
			CaughtBy: []Test{{consumer, "TestFinalAndDeliveredAgain"}},
		},
		{
			Name: "result not announced", File: "internal/broker/topology.go",
			Old:      `	results.RePublish = &jetstream.RePublish{`,
			New:      `	_ = &jetstream.RePublish{`,
			Breaks:   "what is recorded is announced",
			CaughtBy: []Test{{broker, "TestBucketsAreWhatTheClientLibraryMakes"}},
			Also:     []Test{{broker, "TestARecordIsRepublished"}},
		},
		{
			Name: "a late worker overwrites what another did", File: "internal/consumer/decide.go",
			Old:      `	return d.certain && !stored.Final &&`,
			New:      `	return d.certain || !stored.Final &&`,
			Breaks:   "a final record stays as it is",
			CaughtBy: []Test{{model, "TestModel/an_attempt_that_is_refused_for_now"}, {consumer, "TestKnowingBeatsDoubting"}},
		},
		{
			Name: "a replay of an unknown expires unasked", File: "internal/consumer/decide.go",
			Old:      `		case rec.Status == passcode.StatusInDoubt: // a replay, which may have been sent before`,
			New:      `		case rec.Status == passcode.StatusRetrying:`,
			Breaks:   "what Aliyun took is sent, or unknown",
			CaughtBy: []Test{{consumer, "TestEveryStory"}, dying},
		},
	}
}
