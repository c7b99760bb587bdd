package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// badJob is a job that breaks a rule, and what it must lead to.
type badJob struct {
	kind string
	id   string // empty where it can't be read
	body string
	// names are what the refusal says: the field, and a word of its rule.
	names []string
	want  passcode.Status
}

func badJobs() []badJob {
	good := func(id, member, value string) string {
		members := map[string]string{"request_id": `"` + id + `"`, "phone": `"` + phoneOf(7) + `"`, "code": `"` + code + `"`}
		if value == "" {
			delete(members, member)
		} else {
			members[member] = value
		}
		var parts []string
		for name, v := range members {
			parts = append(parts, fmt.Sprintf("%q:%s", name, v))
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	bad := func(kind, id, member, value, rule string) badJob {
		return badJob{kind, id, good(id, member, value), []string{member, rule}, passcode.StatusRejected}
	}
	return []badJob{
		{"broken JSON", "", `{"request_id":"b1","phone":`, []string{"job", "JSON"}, ""},
		{"an array", "", `[1,2]`, []string{"job", "object"}, ""},
		{"nothing", "", ``, []string{"job", "JSON"}, ""},
		{"no request id", "", good("x", "request_id", ""), []string{"request_id", "required"}, ""},
		{"a request id with a dot", "", good("x", "request_id", `"a.b"`), []string{"request_id", "A-Z"}, ""},
		{"a long request id", "", good("x", "request_id", `"`+strings.Repeat("a", 65)+`"`), []string{"request_id", "64"}, ""},
		bad("no phone", "b2", "phone", "", "required"),
		bad("a phone that is a number", "b3", "phone", "13800000007", "string"),
		bad("two numbers in one", "b4", "phone", `"13800000007,13800000008"`, "one"),
		bad("a number that is none", "b5", "phone", `"12345"`, "valid"),
		bad("no code", "b6", "code", "", "required"),
		bad("a code of seven digits", "b7", "code", `"1234567"`, "4 to 6"),
		bad("a code with a space", "b8", "code", `"12 34"`, "letters or digits"),
		bad("a code that is a number", "b9", "code", "123456", "string"),
		bad("an expiry that is no time", "b10", "expires_at", `"tomorrow"`, "RFC 3339"),
		bad("a reply subject outside", "b11", "reply_to", `"$JS.API.STREAM.DELETE.PASSCODE"`, "reply_subjects"),
		bad("a reply subject with a wildcard", "b12", "reply_to", `"passcode.result.*"`, "wildcard"),
		bad("params that are no strings", "b13", "params", `{"n":1}`, "string"),
		bad("too much metadata", "b14", "metadata", `{"k":"`+strings.Repeat("v", 3000)+`"}`, "2048"),
		bad("an address that is none", "b15", "client_ip", `"here"`, "IP"),
		{"not UTF-8", "b16", "{\"request_id\":\"b16\",\"phone\":\"" + phoneOf(7) + "\",\"code\":\"" + code + "\",\"usage_type\":\"\xff\"}", []string{"job", "UTF-8"}, passcode.StatusRejected},
		{"10 KiB", "b17", good("b17", "padding", `"`+strings.Repeat("p", 10<<10)+`"`), []string{"job", "8192"}, passcode.StatusRejected},
		{"1 MiB", "b18", oneMiB("b18"), []string{"job", "8192"}, passcode.StatusRejected},
		{"expired", "b19", good("b19", "expires_at", `"2020-01-01T00:00:00Z"`), nil, passcode.StatusExpired},
	}
}

// oneMiB is a job of exactly the largest message that the broker takes.
func oneMiB(id string) string {
	head := fmt.Sprintf(`{"request_id":%q,"phone":%q,"code":%q,"padding":"`, id, phoneOf(7), code)
	return head + strings.Repeat("p", 1<<20-len(head)-2) + `"}`
}

// TestBadJobs: each gets its refusal and disturbs nothing else.
func TestBadJobs(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.worker()
	jobs := badJobs()
	seqs := make([]uint64, len(jobs))
	for i, j := range jobs {
		s.publish(job(fmt.Sprintf("good%d", i), phoneOf(100+i)))
		seqs[i] = s.publish(j.body)
	}
	s.publish(job("good", phoneOf(99)))
	s.untilDone(bound)

	for i, j := range jobs {
		t.Run(j.kind, func(t *testing.T) {
			if j.id != "" {
				r := s.results.final(j.id, bound)
				assert.Equal(t, j.want, r.Status)
				assert.Equal(t, r, s.record(j.id))
				for _, name := range j.names {
					assert.Contains(t, r.Error.Message, name)
				}
				assert.NotContains(t, r.Error.Message, "0000007")
			}
			if j.want == passcode.StatusExpired {
				return // nothing for an operator to do
			}
			last := j.id
			if last == "" {
				last = fmt.Sprintf("seq-%d", seqs[i])
			}
			checkLetter(t, s.letter("passcode.dead.invalid."+last), j)
		})
	}
	for i := range jobs {
		s.allSent(fmt.Sprintf("good%d", i))
	}
	s.allSent("good")
	assert.Len(t, s.emulator.Sent(), len(jobs)+1)
}

func checkLetter(t *testing.T, letter *jetstream.RawStreamMsg, j badJob) {
	t.Helper()
	assert.Equal(t, "invalid", letter.Header.Get("Passcode-Reason"))
	for _, name := range j.names {
		assert.Contains(t, letter.Header.Get("Passcode-Error-Message"), name)
	}
	if letter.Header.Get("Passcode-Body-Truncated") == "" {
		assert.Equal(t, j.body, string(letter.Data), "the job's very bytes")
		return
	}
	// Bytes and headers together must fit the broker's largest message.
	assert.Equal(t, fmt.Sprint(len(j.body)), letter.Header.Get("Passcode-Body-Size"))
	assert.True(t, strings.HasPrefix(j.body, string(letter.Data)))
	assert.Greater(t, len(letter.Data), 1<<19)
}

// TestReplyTo: the same results go to the job's own reply subject.
func TestReplyTo(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.worker()
	inbox := s.js.Conn().NewInbox()
	sub, err := s.js.Conn().SubscribeSync(inbox)
	require.NoError(t, err)
	body := fmt.Sprintf(`{"request_id":"r1","phone":%q,"code":%q,"reply_to":%q}`, phoneOf(1), code, inbox)
	s.publish(body)
	s.results.final("r1", bound)
	s.publish(body)
	var got []string
	for range 3 {
		msg, err := sub.NextMsg(bound)
		require.NoError(t, err)
		got = append(got, string(msg.Data))
	}
	assert.Contains(t, got[0], `"status":"sending"`)
	assert.Contains(t, got[1], `"status":"sent"`)
	assert.Contains(t, got[2], `"duplicate":true`)
	s.results.until(bound, "the duplicate on the standard subject", func(byID map[string][]passcode.Result) bool {
		history := byID["r1"]
		return len(history) == 3 && history[2].Duplicate
	})
	_, err = sub.NextMsg(50 * time.Millisecond)
	require.Error(t, err, "and nothing else")
}
