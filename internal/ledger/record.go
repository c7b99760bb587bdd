package ledger

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/text"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Limits of a record.
const (
	MaxRecordBytes  = 64 << 10 // a record built from a valid job stays well below it
	MaxMessageBytes = 2 << 10  // of an error's message, which comes from outside; the rest is cut off
)

// encode returns the bytes to store, and the record as a reader will see it.
func encode(rec passcode.Result) ([]byte, passcode.Result, error) {
	rec = normalise(rec)
	if what := wrong(rec); what != "" {
		return nil, rec, fmt.Errorf("%w: %s", domain.ErrUnstorable, what)
	}
	data, err := appendPlain(rec), error(nil)
	if data == nil {
		type plain passcode.Result // without its MarshalJSON, which only sees to metadata; what it writes is scanned again
		data, err = json.Marshal(plain(rec))
	}
	if err == nil && len(data) > MaxRecordBytes {
		err = fmt.Errorf("%w: %d bytes, at most %d are allowed", domain.ErrUnstorable, len(data), MaxRecordBytes)
	}
	return data, rec, err
}

// appendPlain writes a record as [json.Marshal] does, without reflection, if it is like most: it has no error, and its
// texts need no escapes. Otherwise it returns nil.
func appendPlain(rec passcode.Result) []byte {
	plain := rec.Error == nil && rec.RetryAfterSeconds == 0 && !rec.Duplicate && !rec.Recovered && rec.Lookups == 0 &&
		rec.LookupBeganAt.IsZero() && rec.Interruptions == 0
	b := append(make([]byte, 0, 512), '{')
	raw := func(name, before, value, after string, wanted bool) {
		if wanted {
			b = append(append(append(append(append(append(b, '"'), name...), before...), value...), after...), ',')
		}
	}
	bare := func(name, value string, wanted bool) { raw(name, `":`, value, "", wanted) }
	text := func(name, value string, wanted bool) {
		plain = plain && !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune("\"\\<>&", r) })
		raw(name, `":"`, value, `"`, wanted)
	}
	at := func(name string, t time.Time, wanted bool) { raw(name, `":"`, t.Format(time.RFC3339Nano), `"`, wanted) }
	metadata, err := []byte("{}"), error(nil)
	if len(rec.Metadata) > 0 {
		metadata, err = json.Marshal(rec.Metadata)
	}
	text("request_id", rec.RequestID, true)
	text("status", string(rec.Status), true)
	bare("final", strconv.FormatBool(rec.Final), true)
	text("phone", rec.Phone, true)
	text("usage_type", rec.UsageType, true)
	bare("attempts", strconv.Itoa(rec.Attempts), true)
	text("biz_id", rec.BizID, rec.BizID != "")
	text("provider_request_id", rec.ProviderRequestID, rec.ProviderRequestID != "")
	at("next_attempt_at", rec.NextAttemptAt, !rec.NextAttemptAt.IsZero())
	at("delivered_at", rec.DeliveredAt, !rec.DeliveredAt.IsZero())
	bare("replays", strconv.Itoa(rec.Replays), rec.Replays != 0)
	bare("metadata", string(metadata), true)
	at("queued_at", rec.QueuedAt, true)
	at("updated_at", rec.UpdatedAt, true)
	at("expires_at", rec.ExpiresAt, true)
	bare("stream_seq", strconv.FormatUint(rec.StreamSeq, 10), true)
	text("worker", rec.Worker, true)
	at("attempted_at", rec.AttemptedAt, !rec.AttemptedAt.IsZero())
	if !plain || err != nil {
		return nil
	}
	b[len(b)-1] = '}'
	return b
}

// decode reads the stored bytes of a request. Its error quotes nothing of them.
func decode(id string, data []byte) (passcode.Result, error) {
	var rec passcode.Result
	what := "it is no record"
	switch err := json.Unmarshal(data, &rec); {
	case len(data) > MaxRecordBytes:
		what = fmt.Sprintf("%d bytes, at most %d are expected", len(data), MaxRecordBytes)
	case err == nil && rec.RequestID != id:
		what = "it names another request"
	case err == nil:
		rec = normalise(rec)
		what = wrong(rec)
	}
	if what != "" {
		return passcode.Result{}, fmt.Errorf("%w: request %s: %s", domain.ErrCorrupt, id, what)
	}
	return rec, nil
}

// wrong says why a record can't be stored; "" where it can.
func wrong(rec passcode.Result) string {
	switch {
	case !passcode.ValidRequestID(rec.RequestID):
		return "its request id is not valid"
	case !slices.Contains(passcode.Statuses(), rec.Status):
		return "its status is not a known one"
	case rec.Attempts < 0 || rec.Replays < 0:
		return "a count is negative"
	}
	for _, t := range times(&rec) {
		if year := t.Year(); year < 0 || year > 9999 { // JSON has no others
			return "a time is out of range"
		}
	}
	return ""
}

// normalise brings a record into the one form in which it is stored, so that
// equal records have equal bytes and a record written equals the one read.
func normalise(rec passcode.Result) passcode.Result {
	rec = rec.In(rec.Status)
	rec.Duplicate = false // said of an announcement, never of a request
	if rec.Metadata == nil {
		rec.Metadata = map[string]string{} // "{}" for readers, never "null"
	}
	if rec.Error != nil {
		e := *rec.Error
		e.Message = text.Cut(e.Message, MaxMessageBytes)
		rec.Error = &e
	}
	for _, t := range times(&rec) {
		*t = t.UTC().Round(0) // without the monotonic reading, which JSON drops
	}
	return rec
}

func times(rec *passcode.Result) []*time.Time {
	return []*time.Time{
		&rec.NextAttemptAt, &rec.DeliveredAt, &rec.QueuedAt, &rec.UpdatedAt, &rec.ExpiresAt, &rec.AttemptedAt,
		&rec.LookupBeganAt,
	}
}
