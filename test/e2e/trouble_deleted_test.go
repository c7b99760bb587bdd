package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// goodAndBad publishes n good jobs and one that becomes a dead letter, the name
// before their numbers, and returns the ids of the good ones.
func (s *troubled) goodAndBad(name string, n, firstPhone int) (ids []string) {
	s.t.Helper()
	for i := range n {
		ids = append(ids, fmt.Sprintf("%s%d", name, i))
		s.enqueue(ids[i], phoneOf(firstPhone+i))
	}
	s.enqueue(name+"bad", "1")
	return ids
}

// wentOn checks that such jobs came to their end, each once, with the worker ready.
func (s *troubled) wentOn(name string, ids []string) {
	s.t.Helper()
	for _, id := range ids {
		r := s.results.final(id, bound)
		assert.Equal(s.t, passcode.StatusSent, r.Status, id)
		assert.Equal(s.t, 1, r.Attempts, id)
	}
	assert.Equal(s.t, passcode.StatusRejected, s.results.final(name+"bad", bound).Status)
	s.untilDone(bound)
	s.untilReady()
	s.once(ids...)
}

// TestDeletedUnderTheWorker: with nats.provision each thing is recreated, and what
// was lost is told; jobs of before and after come to their end.
func TestDeletedUnderTheWorker(t *testing.T) {
	t.Parallel()
	for name, stream := range map[string]string{
		"passcode-requests": "KV_passcode-requests", "passcode-limits": "KV_passcode-limits",
		"PASSCODE_DEAD": "PASSCODE_DEAD", "PASSCODE": "PASSCODE",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := trouble(t, nil)
			s.wentOn("before", s.goodAndBad("before", 1, 0))
			require.NoError(t, s.js.DeleteStream(s.ctx(), stream))
			s.wentOn("after", s.goodAndBad("after", 40, 10))
			s.w.WaitFor(`somebody deleted it, and what was in it is lost; recreated`, bound)
			assert.Contains(t, s.w.Output(), fmt.Sprintf(`"name":%q`, name))
			s.quiet()
		})
	}
}

// TestDeletedWithoutProvision: the worker waits, says what mends it, and goes on
// once an operator has done that.
func TestDeletedWithoutProvision(t *testing.T) {
	t.Parallel()
	s := troubledBroker(t)
	s.finished(0, "provision")
	s.run("nats.provision", "false")
	s.wentOn("before", s.goodAndBad("before", 1, 0))
	for _, stream := range []string{"KV_passcode-requests", "KV_passcode-limits", "PASSCODE_DEAD"} {
		require.NoError(t, s.js.DeleteStream(s.ctx(), stream))
	}
	require.NoError(t, s.js.DeleteConsumer(s.ctx(), "PASSCODE", "passcode-worker"))
	ids := s.goodAndBad("after", 40, 10)
	for _, name := range []string{"bucket passcode-requests", "bucket passcode-limits", "stream PASSCODE_DEAD", "consumer passcode-worker"} {
		s.named("broker: " + name + ` does not exist: nats.provision is off; create it with "worker provision"`)
	}
	s.w.WaitFor("missing, and nats.provision is off", bound)
	s.finished(0, "provision")
	s.wentOn("after", ids)
	s.w.WaitFor("there again", bound)
	s.quiet()
}

// inState says how jobs come to a state.
type inState struct {
	name, faults string
	status       passcode.Status
}

var (
	retrying = inState{"retrying", "throttle,count=5", passcode.StatusRetrying}
	doubtful = inState{"doubtful", "accept_drop,count=5", passcode.StatusInDoubt}
	sending  = inState{"sending", "", passcode.StatusSending}
)

// slowlyTrying starts a system whose jobs stay in their states for a while.
func slowlyTrying(t *testing.T) *troubled {
	t.Helper()
	return trouble(t, []string{"retry.initial_interval", "3s", "retry.randomization_factor", "0"}, "--latency", "1500ms")
}

// inStates publishes five jobs for each state, and waits until they are in it.
func (s *troubled) inStates(states ...inState) (ids []string) {
	s.t.Helper()
	for _, one := range states {
		s.emulator.SetFaults(one.faults)
		var five []string
		for i := range 5 {
			five = append(five, fmt.Sprintf("%s%d", one.name, i))
			s.enqueue(five[i], phoneOf(len(ids)+i))
		}
		s.results.reach(one.status, five...)
		ids = append(ids, five...)
	}
	return ids
}

// TestRecordsLostOnTheWay: the records and the limits are purged, or deleted, while
// jobs are in every state. Each comes to its end, and none is sent twice.
func TestRecordsLostOnTheWay(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*troubled, string){
		"purged": func(s *troubled, stream string) {
			found, _ := s.stream(stream)
			require.NoError(s.t, found.Purge(s.ctx()))
		},
		"deleted": func(s *troubled, stream string) { require.NoError(s.t, s.js.DeleteStream(s.ctx(), stream)) },
		"every key purged": func(s *troubled, stream string) {
			kv, err := s.js.KeyValue(s.ctx(), stream[len("KV_"):])
			require.NoError(s.t, err)
			keys, err := kv.Keys(s.ctx())
			require.NoError(s.t, err)
			for _, key := range keys {
				require.NoError(s.t, kv.Purge(s.ctx(), key))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := slowlyTrying(t)
			ids := s.inStates(inState{"sent", "", passcode.StatusSent}, retrying, doubtful, sending)
			lose(s, "KV_passcode-requests")
			lose(s, "KV_passcode-limits")
			s.allSent(ids...)
			s.untilDone(bound)
			s.once(ids...)
			s.untilReady()
			s.quiet()
		})
	}
}

// TestRepeatedAfterTheirStreamWasLost: jobs in every state are gone with their stream,
// and their producer publishes them again. Each comes to its end, and none is sent twice.
func TestRepeatedAfterTheirStreamWasLost(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*troubled){
		"purged": func(s *troubled) {
			stream, _ := s.stream("PASSCODE")
			require.NoError(s.t, stream.Purge(s.ctx()))
		},
		"deleted": func(s *troubled) { require.NoError(s.t, s.js.DeleteStream(s.ctx(), "PASSCODE")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := slowlyTrying(t)
			ids := s.inStates(retrying, doubtful, sending)
			lose(s)
			// In another order, and not under their own message ids, which a stream that
			// was purged still knows.
			slices.Reverse(ids)
			for i, id := range ids {
				require.NoError(t, harness.Publish(s.ctx(), s.js, id+"-again", job(id, phoneOf(len(ids)-1-i))))
			}
			s.allSent(ids...)
			s.untilDone(bound)
			s.once(ids...)
			s.untilReady()
		})
	}
}

// TestARecreatedStreamCountsFromTheStart: a job has the place in the stream that another
// had before, and is not taken for it: neither as a dead letter nor as a replay.
func TestARecreatedStreamCountsFromTheStart(t *testing.T) {
	t.Parallel()
	s := trouble(t, nil)
	for i, id := range []string{"first", "second"} {
		s.emulator.SetFaults("code=isv.SMS_TEMPLATE_ILLEGAL,count=1")
		s.enqueue(id, phoneOf(i))
		assert.Equal(t, passcode.StatusDeadLettered, s.results.final(id, bound).Status)
		require.EqualValues(t, 1, s.record(id).StreamSeq)
		s.untilDone(bound)
		require.NoError(t, s.js.DeleteStream(s.ctx(), "PASSCODE"))
	}
	s.untilReady()
	s.finished(0, "dlq", "replay", "--id", "first")
	s.results.reach(passcode.StatusSent, "first")
	require.EqualValues(t, 1, s.record("first").StreamSeq)
	s.finished(0, "dlq", "replay", "--id", "second")
	s.results.reach(passcode.StatusSent, "second")
	s.once("first", "second")
}
