package bucket

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// FuzzNewest reads the answer of a bucket's leader. A value comes from a message
// that is there, whole, and no mark of a deletion; an error quotes nothing of it.
func FuzzNewest(f *testing.F) {
	f.Add([]byte(`{"message":{"subject":"$KV.b.k","seq":7,"data":"eA=="}}`))
	f.Add([]byte(`{"message":{"seq":7,"hdrs":"TkFUUy8xLjANCktWLU9wZXJhdGlvbjogREVMDQoNCg=="}}`))
	f.Add([]byte(`{"error":{"code":404,"err_code":10037,"description":"no message found"}}`))
	f.Add([]byte(`{"error":null,"message":{"seq":-1,"data":"x"}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		value, revision, err := readNewest(data)
		if err != nil {
			require.Nil(t, value)
			var refusal *jetstream.APIError
			require.True(t, errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidJetStreamResponse) || errors.As(err, &refusal), "%v", err)
			return
		}
		var found struct {
			Message struct {
				Sequence uint64 `json:"seq"`
				Data     []byte `json:"data"`
			} `json:"message"`
		}
		require.NoError(t, json.Unmarshal(data, &found))
		require.Equal(t, found.Message.Data, value)
		require.Equal(t, found.Message.Sequence, revision)
		require.Positive(t, revision, "a write over revision 0 would be a first one")
	})
}
