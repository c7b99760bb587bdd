package bucket

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Newest returns a key's last value and its revision as the leader of the
// bucket's stream has them, or [jetstream.ErrKeyNotFound]. After a deletion the
// revision beside that error is that of the mark that stands for it, which the next
// write goes over; 0 where nothing is left.
//
// The client library has any replica answer, where a bucket allows that. One that
// was away answers again when it has caught up with nine tenths of what it missed,
// so its answer may be old by far more than a moment: a write that rests on it is
// refused, but not a decision after which nothing is written. And one that is cut
// off goes on being asked, in vain, until the others notice, which takes tens of
// seconds. The leader is who takes the write that follows, so asking it can fail
// for no further reason.
func Newest(ctx context.Context, nc *nats.Conn, bucket, key string) (value []byte, revision uint64, err error) {
	subject := "$KV." + bucket + "." + key
	request, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return nil, 0, err
	}
	answer, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET.KV_"+bucket, request)
	if err != nil {
		return nil, 0, err
	}
	return readNewest(answer.Data)
}

func readNewest(answer []byte) (value []byte, revision uint64, err error) {
	var found struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Sequence uint64 `json:"seq"`
			Header   []byte `json:"hdrs"`
			Data     []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer, &found); err != nil {
		return nil, 0, jetstream.ErrInvalidJetStreamResponse // the parser's words would quote the value
	}
	switch {
	case found.Error != nil && found.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, 0, jetstream.ErrKeyNotFound
	case found.Error != nil:
		return nil, 0, found.Error
	case found.Message == nil || found.Message.Sequence == 0: // sequences begin at 1
		return nil, 0, jetstream.ErrInvalidJetStreamResponse
	}
	deleted, err := isMark(found.Message.Header)
	if err != nil {
		return nil, 0, err
	}
	if deleted {
		return nil, found.Message.Sequence, jetstream.ErrKeyNotFound
	}
	return found.Message.Data, found.Message.Sequence, nil
}

// isMark says whether a message with this header stands for a value that is gone:
// deleted or purged by a client, or dropped by the server.
func isMark(header []byte) (bool, error) {
	if len(header) == 0 {
		return false, nil
	}
	h, err := nats.DecodeHeadersMsg(header)
	if err != nil {
		return false, fmt.Errorf("%w: header", jetstream.ErrInvalidJetStreamResponse)
	}
	return h.Get("KV-Operation") != "" || h.Get(jetstream.MarkerReasonHeader) != "", nil
}
