package passcode_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/passcode"
)

func TestStatuses(t *testing.T) {
	t.Parallel()
	rows := []struct {
		status            string
		final, replayable bool
		meaning           string
	}{
		{"sending", false, false, "claimed by a worker; a call to Aliyun may be in progress"},
		{"retrying", false, false, "the last attempt surely sent nothing; another follows"},
		{"in_doubt", false, false, "the last attempt may or may not have been accepted"},
		{"sent", true, false, "Aliyun accepted it; what is sent is never replayed"},
		{"rate_limited", true, false, "a limit refused it"},
		{"rejected", true, false, "it can never be sent"},
		{"expired", true, false, "the code was no longer worth sending"},
		{"unknown", true, true, "could not be settled; an operator may open it again"},
		{"dead_lettered", true, true, "needs an operator, who may open it again"},
		{"delivered", true, false, "the carrier's report"},
		{"undelivered", true, false, "the carrier's report"},
	}
	names := make([]passcode.Status, 0, len(rows))
	for _, row := range rows {
		status := passcode.Status(row.status)
		names = append(names, status)
		assert.Equal(t, row.final, status.Final(), "%s: final", status)
		assert.Equal(t, row.replayable, status.Replayable(), "%s: replayable", status)

		result := passcode.Result{Attempts: 2, Final: !row.final}.In(status)
		assert.Equal(t, status, result.Status)
		assert.Equal(t, row.final, result.Final, "In keeps final in step with %s", status)
		assert.Equal(t, 2, result.Attempts, "In leaves the rest alone")
	}
	assert.Equal(t, names, passcode.Statuses(), "no status is missing from the table, in its order")
}

// The words are written in records, metrics, logs and subjects, and users match
// on them: none may change.
func TestWordsOfTheVocabulary(t *testing.T) {
	t.Parallel()
	classes := make([]string, 0, 11)
	for _, c := range passcode.Classes() {
		classes = append(classes, string(c))
	}
	assert.Equal(t, "ok invalid transient throttled in_doubt phone_limited recipient config account expired poison",
		strings.Join(classes, " "))

	reasons := make([]string, 0, 5)
	for _, r := range passcode.Reasons() {
		reasons = append(reasons, string(r))
		assert.True(t, passcode.ValidRequestID(string(r)), "%s stands in a subject", r)
	}
	assert.Equal(t, "invalid config exhausted unknown poison", strings.Join(reasons, " "))
}
