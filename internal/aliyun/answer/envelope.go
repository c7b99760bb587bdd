package answer

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// MaxBytes bounds an answer. A full page of send details has some 50 KiB.
const MaxBytes = 1 << 20

// ErrUnreadable says that the answer is not one of the service's.
var ErrUnreadable = errors.New("the answer is not one of the service's")

// Envelope is what every answer has; BizID only one that accepts.
type Envelope struct {
	Code      string
	Message   string
	RequestID string `json:"RequestId"`
	BizID     string `json:"BizId"`
}

// Open reads an answer, and refuses what the service would not write. The code decides
// whether a message is sent again, so it may not come from somebody else, or be mixed up:
// a proxy's error page, a redirect's body, a member that stands twice.
func Open(status int, body []byte) (Envelope, error) {
	if len(body) > MaxBytes || status != http.StatusOK && (status < 400 || status > 599) {
		return Envelope{}, ErrUnreadable
	}
	var e Envelope
	if json.Unmarshal(body, &e) != nil || checkMembers(json.NewDecoder(bytes.NewReader(body))) != nil {
		return Envelope{}, ErrUnreadable
	}
	// Missing and null members count as empty, and no code is empty. "ok" or "OK." is not
	// the service's, and no refusal either.
	if len(e.Code) > MaxCodeBytes || !plainCode.MatchString(e.Code) || !letter(e.Code[0]) ||
		(e.Code != "OK" && strings.EqualFold(strings.Trim(e.Code, "._-"), "OK")) {
		return Envelope{}, ErrUnreadable
	}
	return e, nil
}

// Plain reads the answer that nearly every send gets: OK, as the service writes it, with nothing in it that two
// readers could understand in two ways. It is what [Open] and the SDK read too; other answers are theirs.
func Plain(status int, body []byte) (e Envelope, plain bool) {
	rest, object := strings.CutPrefix(string(body), "{\"")
	if status != http.StatusOK || !object {
		return Envelope{}, false
	}
	for {
		name, after, _ := strings.Cut(rest, "\":\"")
		value, next, ended := strings.Cut(after, "\"")
		var member *string
		switch name {
		case "Code":
			member = &e.Code
		case "Message":
			member = &e.Message
		case "RequestId":
			member = &e.RequestID
		case "BizId":
			member = &e.BizID
		}
		odd := func(r rune) bool { return r < ' ' || r > '~' || r == '\\' }
		if member == nil || *member != "" || !ended || value == "" || strings.ContainsFunc(value, odd) {
			return Envelope{}, false
		}
		*member = value
		if next == "}" {
			return e, e.Code == "OK"
		}
		if rest, object = strings.CutPrefix(next, ",\""); !object {
			return Envelope{}, false
		}
	}
}

// Class is what the answer's code means. An unknown code with a server error may be that
// of a gateway that gave up waiting: it tells nothing of the message.
func (e Envelope) Class(status int) passcode.Class {
	class, known := ClassOf(e.Code)
	if !known && status >= http.StatusInternalServerError {
		return passcode.ClassInDoubt
	}
	return class
}

func letter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

// checkMembers reads one value and refuses objects in which a name stands twice, whatever
// its case: readers differ in which one they take.
func checkMembers(decoder *json.Decoder) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	opening, isDelim := token.(json.Delim)
	if !isDelim {
		return nil
	}
	seen := map[string]bool{}
	for decoder.More() {
		if opening == '{' {
			name, err := decoder.Token()
			if err != nil {
				return err
			}
			text, _ := name.(string)
			// Upper case first: ſ and the Kelvin sign fold to s and k.
			folded := strings.ToLower(strings.ToUpper(text))
			if seen[folded] {
				return ErrUnreadable
			}
			seen[folded] = true
		}
		if err := checkMembers(decoder); err != nil {
			return err
		}
	}
	_, err = decoder.Token() // the closing one
	return err
}

// Number is an integer of an answer. The service writes some as strings.
type Number int64

// UnmarshalJSON is stricter than the SDK, which takes true for 1 and "" for 0.
func (n *Number) UnmarshalJSON(text []byte) error {
	if len(text) > 1 && text[0] == '"' {
		text = text[1 : len(text)-1]
	}
	value, err := strconv.ParseInt(string(text), 10, 64)
	*n = Number(value)
	return err
}
