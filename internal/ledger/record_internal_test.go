package ledger

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

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

// TestAppendPlainWritesWhatJSONDoes: with any members set. A new member of the record fails it until it is written.
func TestAppendPlainWritesWhatJSONDoes(t *testing.T) {
	t.Parallel()
	type plain passcode.Result
	odd := []string{"Error", "RetryAfterSeconds", "Duplicate", "Recovered", "Lookups", "LookupBeganAt", "Interruptions"}
	rapid.Check(t, func(t *rapid.T) {
		rec := passcode.Result{Metadata: map[string]string{}}
		usual := rapid.Bool().Draw(t, "usual")
		texts := rapid.StringMatching(`[ -~]{0,8}|.{0,3}`)
		if usual {
			texts = rapid.StringMatching(`[a-zA-Z0-9^*_.+ -]{0,16}`)
		}
		v := reflect.ValueOf(&rec).Elem()
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if usual && slices.Contains(odd, name) || !rapid.Bool().Draw(t, name+" is set") {
				continue
			}
			switch field := v.Field(i); field.Interface().(type) {
			case string, passcode.Status:
				field.SetString(texts.Draw(t, name))
			case bool:
				field.SetBool(true)
			case int, int64:
				field.SetInt(rapid.Int64Range(0, 1<<40).Draw(t, name))
			case uint64:
				field.SetUint(rapid.Uint64().Draw(t, name))
			case time.Time:
				seconds, fraction := rapid.Int64Range(0, 1<<33).Draw(t, name), rapid.Int64Range(0, 999_999_999).Draw(t, "fraction")
				field.Set(reflect.ValueOf(time.Unix(seconds, fraction).UTC()))
			case map[string]string:
				field.Set(reflect.ValueOf(rapid.MapOf(texts, rapid.String()).Draw(t, name)))
			case *passcode.Error:
				field.Set(reflect.ValueOf(&passcode.Error{Message: texts.Draw(t, name)}))
			default:
				t.Fatalf("what is %s?", name)
			}
		}
		got := appendPlain(rec)
		require.False(t, usual && got == nil, "a usual record is written without reflection")
		if got != nil {
			want, err := json.Marshal(plain(rec))
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
		}
	})
}
