package ledger

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// FuzzDecode: whatever stands in the bucket, reading it neither panics nor lets
// through what could not be written back, and what it reads is stable.
func FuzzDecode(f *testing.F) {
	good, err := json.Marshal(passcode.Result{RequestID: "r", Metadata: map[string]string{"a": "b"}}.In(passcode.StatusSent))
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte(`{"request_id":"r","status":"rate_limited","error":{"message":"\u0000\ud800"},"updated_at":"2026-01-02T03:04:05.678+08:00"}`))
	f.Add([]byte(`{"request_id":"r","status":"sent","metadata":null,"final":false,"duplicate":true}`))
	f.Add([]byte(`{"request_id":"r","status":"sent","expires_at":"9999-12-31T23:59:59-01:00"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := decode("r", data)
		if err != nil {
			require.ErrorIs(t, err, domain.ErrCorrupt)
			return
		}
		require.Equal(t, "r", rec.RequestID)
		require.Equal(t, rec.Status.Final(), rec.Final)
		require.NotNil(t, rec.Metadata)
		stored, same, err := encode(rec)
		require.NoError(t, err)
		require.Equal(t, rec, same)
		again, err := decode("r", stored)
		require.NoError(t, err)
		require.Equal(t, rec, again)
	})
}
