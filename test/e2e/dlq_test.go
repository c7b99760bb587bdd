package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// command starts one of the worker's commands against the system.
func (s *system) command(args ...string) *harness.Process {
	s.t.Helper()
	p := harness.StartWorker(s.t, s.bin, s.emulator.WorkerEnv(s.url), args...)
	p.Forbid(code)
	return p
}

// finished runs a command to its end, which must have this status.
func (s *system) finished(status int, args ...string) *harness.Process {
	s.t.Helper()
	p := s.command(args...)
	require.Equal(s.t, status, p.Wait(bound), "worker %s: %s", strings.Join(args, " "), p.Stderr())
	return p
}

// lines runs a command that writes JSON lines, which must end with this status,
// and reads them.
func lines[T any](s *system, status int, args ...string) []T {
	s.t.Helper()
	var all []T
	in := bufio.NewScanner(strings.NewReader(s.finished(status, args...).Stdout()))
	for in.Scan() {
		var one T
		require.NoError(s.t, json.Unmarshal(in.Bytes(), &one), in.Text())
		all = append(all, one)
	}
	return all
}

// summary counts the dead letters by reason, as "dlq list --summary" does.
func (s *system) summary() map[string]int {
	s.t.Helper()
	counts := map[string]int{}
	for _, one := range lines[struct {
		Reason string
		Count  int
	}](s, 0, "dlq", "list", "--summary", "--json") {
		counts[one.Reason] = one.Count
	}
	return counts
}

// publishMany publishes good jobs as publishAsync does, and waits for the answers.
func (s *system) publishMany(prefix string, n, firstPhone int) {
	s.t.Helper()
	s.publishAsync(prefix, n, firstPhone)
	select {
	case <-s.js.PublishAsyncComplete():
	case <-time.After(bound):
		require.Fail(s.t, "publishing takes too long")
	}
}

// graveyard starts a system with a worker and n dead letters of each of four
// reasons, whose causes are mended.
func graveyard(t *testing.T, n int) *system {
	t.Helper()
	s := start(t)
	s.worker(append(brief, "retry.max_attempts", "2", "retry.initial_interval", "50ms",
		"aliyun.in_doubt.lookups", `["200ms"]`, "aliyun.in_doubt.resend", "false")...)
	// With answers between the two groups that have none: without one for long, the
	// worker would hold jobs back.
	for i, group := range []struct{ prefix, fault string }{
		{"exhausted", "code=ServiceUnavailable"}, {"config", "code=isv.SMS_TEMPLATE_ILLEGAL"}, {"unknown", "drop"},
	} {
		s.emulator.SetFaults(group.fault)
		s.publishMany(group.prefix, n, 1000*i)
		s.untilDone(bound)
	}
	s.emulator.SetFaults("")
	for i := range n {
		s.publish(fmt.Sprintf(`{"request_id":"invalid%d","phone":%q}`, i, phoneOf(9000+i)))
	}
	s.untilDone(bound)
	return s
}

func TestReplayOfManyDeadLetters(t *testing.T) {
	t.Parallel()
	const n = 250
	s := graveyard(t, n)
	assert.Equal(t, map[string]int{"config": n, "exhausted": n, "unknown": n, "invalid": n}, s.summary())

	// A dry run changes nothing.
	_, before := s.stream("PASSCODE_DEAD")
	type plan struct{ ID, Action, Cause string }
	for _, one := range lines[plan](s, 0, "dlq", "replay", "--all", "--dry-run", "--json") {
		if strings.HasPrefix(one.ID, "invalid") {
			assert.Equal(t, "refused invalid", one.Action+" "+one.Cause)
		} else {
			assert.Equal(t, "replayed", one.Action)
		}
	}
	_, after := s.stream("PASSCODE_DEAD")
	assert.Equal(t, before, after)
	assert.Zero(t, s.stored("PASSCODE"))
	assert.Empty(t, s.emulator.Sent())

	// Killed half way and run again, each is sent once, and no other.
	first := s.command("dlq", "replay", "--reason", "config", "--rate", "100/s")
	require.Eventually(t, func() bool { return len(s.sentTo()) >= n/5 }, bound, 10*time.Millisecond)
	first.Kill()
	left := s.summary()["config"]
	assert.Positive(t, left)
	s.finished(0, "dlq", "replay", "--reason", "config", "--rate", "500/s", "--follow-results")
	s.untilDone(bound)
	assert.Equal(t, map[string]int{"exhausted": n, "unknown": n, "invalid": n}, s.summary())
	s.eachOnce("config", n)
	for i := range n {
		assert.Equal(t, 1, s.record(fmt.Sprintf("config%d", i)).Replays, i)
	}

	// From two terminals at once: what was never sent is sent once, also where
	// the worker itself would not send again after a doubt.
	both := []*harness.Process{
		s.command("dlq", "replay", "--reason", "unknown", "--rate", "1000/s"),
		s.command("dlq", "replay", "--reason", "unknown", "--rate", "1000/s"),
	}
	for _, p := range both {
		require.Zero(t, p.Wait(bound), p.Output())
	}
	s.untilDone(bound)
	sent := s.sentTo()
	for i := range n {
		assert.Equal(t, 1, sent[fmt.Sprintf("unknown%d", i)], i)
	}

	// What can't be replayed is told, and can be discarded.
	for _, one := range lines[plan](s, 1, "dlq", "replay", "--reason", "invalid", "--json") {
		assert.Equal(t, "refused invalid", one.Action+" "+one.Cause)
	}
	s.finished(0, "dlq", "discard", "--reason", "invalid", "--yes")
	assert.Equal(t, map[string]int{"exhausted": n}, s.summary())
}

func TestReplayIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, "--fault", "code=isv.SMS_TEMPLATE_ILLEGAL,count=2")
	s.worker(brief...)

	// Expired, by its own word and by its time in the stream.
	s.publish(fmt.Sprintf(`{"request_id":"r1","phone":%q,"code":%q,"expires_at":%q}`,
		phoneOf(1), code, time.Now().Add(3*time.Second).Format(time.RFC3339Nano)))
	require.Equal(t, passcode.StatusDeadLettered, s.results.final("r1", bound).Status)
	require.Eventually(t, func() bool {
		p := s.command("dlq", "replay", "--id", "r1", "--dry-run")
		p.Wait(bound)
		return strings.Contains(p.Stdout(), "refused: expired")
	}, bound, 100*time.Millisecond)
	p := s.finished(1, "dlq", "replay", "--id", "r1")
	assert.Contains(t, p.Stdout(), "refused, expired: 1 (--ttl 5m")
	assert.Empty(t, s.emulator.Sent())
	letter := s.letter("passcode.dead.config.r1")
	p = s.finished(1, "dlq", "replay", "--id", "r1", "--ttl", "5m", "--follow-results") // the template is refused once more
	assert.Contains(t, p.Stdout(), "became dead_lettered (isv.SMS_TEMPLATE_ILLEGAL): 1")
	p = s.finished(0, "dlq", "replay", "--id", "r1", "--ttl", "5m", "--follow-results")
	assert.Contains(t, p.Stdout(), "became sent: 1")
	assert.Equal(t, 2, s.record("r1").Replays)

	// A dead letter of a request that is sent: one left over from before, and
	// one as if it had died after that.
	for replays, want := range map[string]string{"0": "replayed before (sent), removed now: 1", "2": "refused, sent: 1"} {
		again := nats.NewMsg(letter.Subject)
		again.Data = letter.Data
		for name, values := range letter.Header {
			if strings.HasPrefix(name, "Passcode-") { // not those of the server's answer
				again.Header[name] = values
			}
		}
		again.Header.Set("Passcode-Replays", replays)
		_, err := s.js.PublishMsg(s.ctx(), again)
		require.NoError(t, err)
		p = s.command("dlq", "replay", "--id", "r1", "--ttl", "5m")
		p.Wait(bound)
		assert.Contains(t, p.Stdout(), want)
	}
	assert.Equal(t, map[string]int{"r1": 1}, s.sentTo())
}

// TestReplayStopsCleanly: what was begun is finished, and told.
func TestReplayStopsCleanly(t *testing.T) {
	t.Parallel()
	s := start(t, "--fault", "code=isv.SMS_TEMPLATE_ILLEGAL")
	s.worker(brief...)
	const n = 60
	s.publishMany("r", n, 0)
	s.untilDone(bound)
	s.emulator.SetFaults("")
	p := s.command("dlq", "replay", "--all", "--rate", "10/s")
	require.Eventually(t, func() bool { return len(s.sentTo()) >= 5 }, bound, 10*time.Millisecond)
	p.Signal(os.Interrupt)
	require.Equal(t, 1, p.Wait(bound))
	done := n - s.summary()["config"]
	assert.Contains(t, p.Stderr(), fmt.Sprintf("stopped: %d of %d done; run it again to go on", done, n))
	assert.Contains(t, p.Stdout(), fmt.Sprintf("replayed: %d", done))
	s.untilDone(bound)
	assert.Len(t, s.sentTo(), done)
}

// TestDeadLettersKeepTheirSecrets: also those of jobs that are wrong, where the
// passcode may stand anywhere.
func TestDeadLettersKeepTheirSecrets(t *testing.T) {
	t.Parallel()
	s := start(t, "--fault", "code=isv.SMS_TEMPLATE_ILLEGAL")
	s.worker(brief...)
	s.publish(fmt.Sprintf(`{"request_id":"good","phone":%q,"code":%q,"params":{"code":%q},"metadata":{"tenant":"t1"}}`, phoneOf(1), code, code))
	s.publish(fmt.Sprintf(`{"request_id":"bad","phone":%q,"passcode":%q}`, phoneOf(2), code))
	s.publish(fmt.Sprintf(`{"phone":%q,"code":%q`, phoneOf(3), code)) // no JSON
	s.untilDone(bound)
	for _, args := range [][]string{
		{"dlq", "list"}, {"dlq", "list", "--json"}, {"dlq", "list", "--summary"}, {"dlq", "export"}, {"dlq", "show", "good"},
		{"dlq", "show", "good", "--json"}, {"dlq", "show", "bad"}, {"dlq", "replay", "--all", "--dry-run"},
	} {
		s.finished(0, args...) // whose output is searched for numbers and passcodes
	}
	type exported struct {
		ID       string
		Phone    string
		Body     string
		Metadata map[string]string
		Params   []string
	}
	for _, one := range lines[exported](s, 0, "dlq", "export") {
		assert.Empty(t, one.Body)
		if one.ID == "good" {
			assert.Equal(t, "+86138****0001", one.Phone)
			assert.Equal(t, []string{"code"}, one.Params)
			assert.Equal(t, map[string]string{"tenant": "t1"}, one.Metadata)
		}
	}
}

// A dead letter outlives its request's record. What Aliyun took and could not be
// settled is not sent again then either.
func TestReplayOfAnUnknownWithoutItsRecord(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.emulator.SetFaults("accept_drop\ndrop,action=QuerySendDetails")
	s.worker(append(brief, "worker.passcode_ttl", "2s", "aliyun.in_doubt.lookups", `["200ms"]`)...)
	s.publish(job("taken", phoneOf(1)))
	s.untilDone(bound)
	s.emulator.SetFaults("drop\ndrop,action=QuerySendDetails")
	s.publish(job("lost", phoneOf(2)))
	for _, id := range []string{"taken", "lost"} {
		require.Equal(t, passcode.StatusUnknown, s.results.final(id, bound).Status, id)
	}
	s.emulator.SetFaults("")
	records, err := s.js.KeyValue(s.ctx(), "passcode-requests")
	require.NoError(t, err)
	for _, id := range []string{"taken", "lost"} {
		require.NoError(t, records.Purge(s.ctx(), id))
	}

	p := s.finished(0, "dlq", "replay", "--all", "--ttl", "5m", "--dry-run")
	assert.Equal(t, 2, strings.Count(p.Stdout(), "Aliyun is asked first"), p.Stdout())
	assert.Contains(t, s.finished(0, "dlq", "show", "taken").Stdout(), "last attempt")
	p = s.finished(0, "dlq", "replay", "--all", "--ttl", "5m", "--follow-results")
	assert.Contains(t, p.Stdout(), "became sent: 2")
	assert.Equal(t, map[string]int{"taken": 1, "lost": 1}, s.sentTo())
	assert.True(t, s.record("taken").Recovered)
	assert.False(t, s.record("lost").Recovered)
}
