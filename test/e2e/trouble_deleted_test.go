package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// goodAndBad publishes n good jobs and one that becomes a dead letter, the name
// before their numbers, and returns the ids of the good ones.
func (s *troubled) goodAndBad(name string, n, firstPhone int) (ids []string) {
	s.t.Helper()
	for i := range n {
		ids = append(ids, fmt.Sprintf("%s%d", name, i))
		s.insist(ids[i], phoneOf(firstPhone+i))
	}
	s.insist(name+"bad", "1")
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

// TestDeletedUnderTheWorker: with nats.provision each thing is made again, and what
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
			s.w.WaitFor(`somebody deleted it, and what was in it is lost; made again`, bound)
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
	s.command("provision")
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
	s.command("provision")
	s.wentOn("after", ids)
	s.w.WaitFor("there again", bound)
	s.quiet()
}

// TestRecordsLostOnTheWay: the records and the limits are purged, or deleted, while
// jobs are in every state. Each comes to its end, and none is sent twice.
func TestRecordsLostOnTheWay(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*troubled, string){
		"purged": func(s *troubled, stream string) {
			found, err := s.js.Stream(s.ctx(), stream)
			require.NoError(s.t, err)
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
			s := trouble(t, []string{"retry.initial_interval", "3s", "retry.randomization_factor", "0"}, "--latency", "600ms")
			var ids []string
			some := func(what string, n int) {
				for i := range n {
					ids = append(ids, fmt.Sprintf("%s%d", what, i))
					s.insist(ids[len(ids)-1], phoneOf(len(ids)))
				}
			}
			settled := func(status passcode.Status, n int) {
				s.results.until(bound, "jobs "+string(status), func(byID map[string][]passcode.Result) bool {
					found := 0
					for _, way := range byID {
						if way[len(way)-1].Status == status {
							found++
						}
					}
					return found == n
				})
			}
			some("sent", 3)
			settled(passcode.StatusSent, 3)
			s.emulator.SetFaults("throttle,count=5")
			some("retrying", 5)
			settled(passcode.StatusRetrying, 5)
			s.emulator.SetFaults("accept_drop,count=5")
			some("doubtful", 5)
			settled(passcode.StatusInDoubt, 5)
			some("sending", 5)
			settled(passcode.StatusSending, 5)
			lose(s, "KV_passcode-requests")
			lose(s, "KV_passcode-limits")
			for _, id := range ids {
				assert.Equal(t, passcode.StatusSent, s.results.final(id, bound).Status, id)
			}
			s.untilDone(bound)
			s.once(ids...)
			s.untilReady()
			s.quiet()
		})
	}
}
