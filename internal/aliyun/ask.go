package aliyun

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	dysmsapi "github.com/alibabacloud-go/dysmsapi-20170525/v3/client"
	util "github.com/alibabacloud-go/tea-utils/v2/service"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// refusal says why a question was not answered.
type refusal struct {
	class   passcode.Class
	code    string // Aliyun's after scrubbing, or a word of ours
	message string // for people
	// answered: it was the service that refused, and not something on the way to it.
	answered bool
}

// ask makes one call that changes nothing on the other side, bounded by
// [Options.Timeout], and decodes what came into the answer. The method is one of
// the SDK's client. What it returns is not looked at: the SDK reads numbers out of
// truth values, and texts out of numbers.
func ask[Q, R any](ctx context.Context, s *Sender, scrub *scrubber,
	method func(*dysmsapi.Client, *Q, *util.RuntimeOptions) (*R, error), question *Q, answer any,
) *refusal {
	ctx, cancel := context.WithTimeoutCause(ctx, s.opts.Timeout, errCallTimeout)
	defer cancel()
	x, err := s.call(ctx, time.Time{}, func(client *dysmsapi.Client) error {
		_, err := method(client, question, &util.RuntimeOptions{})
		return err
	})
	if err != nil {
		fault := keysFault(ctx, err)
		return &refusal{class: fault.Class, code: fault.Code, message: fault.Message}
	}
	if !x.answered() {
		fault := faultOf(ctx, x)
		return &refusal{class: fault.Class, code: fault.Code, message: faultText(x, fault.Code)}
	}
	if class := x.class(); class != passcode.ClassOK {
		return &refusal{class, scrub.code(x.envelope.Code), scrub.text(x.envelope.Message), x.envelope.RequestID != ""}
	}
	if x.sdkErr != nil || json.Unmarshal(x.body, answer) != nil {
		return unreadable(x.status)
	}
	return nil
}

func unreadable(status int) *refusal {
	return &refusal{class: passcode.ClassTransient, code: codeUnreadable, message: fmt.Sprintf("HTTP %d: %s", status, faultTexts[codeUnreadable])}
}
