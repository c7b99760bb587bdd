package passcode_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
)

func sentResult() passcode.Result {
	queued := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	return passcode.Result{
		RequestID: "01JD8Z3K",
		Phone:     "+86138****5678",
		UsageType: "SignIn",
		Attempts:  1,
		BizID:     "900619746936498440^0", ProviderRequestID: "F655A8D5-B967-440B-8683-DAD6FF8DE990",
		Metadata: map[string]string{},
		QueuedAt: queued, UpdatedAt: queued.Add(250 * time.Millisecond), ExpiresAt: queued.Add(10 * time.Minute),
		StreamSeq: 42,
		Worker:    "host-7",
	}.In(passcode.StatusSent)
}

func fullResult() passcode.Result {
	r := sentResult().In(passcode.StatusRateLimited)
	r.Attempts = 2
	r.Error = &passcode.Error{
		Code: "isv.BUSINESS_LIMIT_CONTROL", Class: passcode.ClassPhoneLimited, Message: "触发小时级流控Permits:5",
	}
	r.RetryAfterSeconds = 3600
	r.NextAttemptAt = r.QueuedAt.Add(time.Second)
	r.Duplicate, r.Recovered = true, true
	r.DeliveredAt = r.QueuedAt.Add(2 * time.Second)
	r.Replays = 1
	r.Metadata = map[string]string{"tenant": "t1"}
	r.AttemptedAt = r.QueuedAt.Add(100 * time.Millisecond)
	r.Lookups, r.Interruptions = 3, 4
	return r
}

func golden(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	return bytes.TrimSpace(data)
}

// The plain result is compared byte for byte: the order of its members is what
// people see, and no member may appear where it does not apply.
func TestSentResultIsWrittenAsDocumented(t *testing.T) {
	t.Parallel()
	data, err := json.Marshal(sentResult())
	require.NoError(t, err)
	assert.Equal(t, string(golden(t, "result_sent.json")), string(data))
}

func TestMetadataIsAnObjectEvenWhereThereIsNone(t *testing.T) {
	t.Parallel()
	result := sentResult()
	result.Metadata = nil
	data, err := json.Marshal(&result)
	require.NoError(t, err)
	assert.Equal(t, string(golden(t, "result_sent.json")), string(data))
}

func TestEveryMemberOfAResultHasItsName(t *testing.T) {
	t.Parallel()
	data, err := json.Marshal(fullResult())
	require.NoError(t, err)
	assert.JSONEq(t, string(golden(t, "result_full.json")), string(data))
}

func TestResultIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]passcode.Result{"result_sent.json": sentResult(), "result_full.json": fullResult()} {
		var got passcode.Result
		decoder := json.NewDecoder(bytes.NewReader(golden(t, name)))
		decoder.DisallowUnknownFields()
		require.NoError(t, decoder.Decode(&got))
		assert.Empty(t, cmp.Diff(want, got), name)
	}
}
