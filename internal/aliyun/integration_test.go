package aliyun_test

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/aliyun"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator"
	"github.com/passcode-worker/passcode-worker/passcode"
)

func start(t *testing.T, o emulator.Options) (*emulator.Emulator, *aliyun.Sender) {
	t.Helper()
	service, err := emulator.New(o)
	require.NoError(t, err)
	server := httptest.NewServer(service)
	t.Cleanup(server.Close)
	t.Cleanup(service.Close)
	sender, err := aliyun.New(aliyun.Options{
		Endpoint: strings.TrimPrefix(server.URL, "http://"), Protocol: "http",
		Credentials: aliyun.Credentials{
			AccessKeyID: emulator.DefaultAccessKeyID, AccessKeySecret: passcode.NewSecret(emulator.DefaultAccessKeySecret),
		},
		SignName: "测试签名", Templates: []domain.Template{{UsageType: "Generic", TemplateCode: domain.TemplateCode{China: "SMS_CN", Overseas: "SMS_INTL"}}},
		Timeout: 2 * time.Second, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(sender.Close)
	return service, sender
}

func message(id, phone string) domain.Message {
	return domain.Message{
		RequestID: id, Phone: passcode.NewPhone(phone), Code: passcode.NewPasscode("0042"), UsageType: "SignIn",
	}
}

func TestTheEmulatorTakesWhatTheSenderSends(t *testing.T) {
	t.Parallel()
	service, sender := start(t, emulator.Options{})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			outcome := sender.Send(t.Context(), message(fmt.Sprintf("req-%d", i), fmt.Sprintf("+86138%08d", i)), time.Time{})
			assert.Equal(t, passcode.ClassOK, outcome.Class, "%+v", outcome)
		})
	}
	wg.Wait()
	outcome := sender.Send(t.Context(), message("abroad", "+85268326366"), time.Time{})
	require.Equal(t, passcode.ClassOK, outcome.Class)
	sent := service.Sent()
	require.Len(t, sent, 51)
	last := sent[50]
	assert.Equal(t, "85268326366", last.Phone)
	assert.Equal(t, "abroad", last.OutID)
	assert.Equal(t, outcome.BizID, last.BizID)
	assert.Equal(t, "0042", last.Code)
	assert.Equal(t, "SMS_INTL", last.TemplateCode)
}

func TestTheEmulatorsLimitsAreReadFromTheirMessages(t *testing.T) {
	t.Parallel()
	_, sender := start(t, emulator.Options{Limits: true})
	require.Equal(t, passcode.ClassOK, sender.Send(t.Context(), message("a", "+8613812345678"), time.Time{}).Class)
	outcome := sender.Send(t.Context(), message("b", "+8613812345678"), time.Time{})
	assert.Equal(t, passcode.ClassPhoneLimited, outcome.Class)
	assert.Equal(t, time.Minute, outcome.Window)
}

// Doubt is settled by a look-up: each row is what the sender believes, and what
// the service really did.
func TestDoubtIsSettledByALookup(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		fault string
		class passcode.Class
		code  string
		state domain.FindingState
	}{
		{"accept_drop", passcode.ClassInDoubt, "connection_closed", domain.Accepted},
		{"drop", passcode.ClassInDoubt, "connection_closed", domain.NotFound},
		{"accept_reset", passcode.ClassInDoubt, "connection_reset", domain.Accepted},
		{"accept_hang", passcode.ClassInDoubt, "timeout", domain.Accepted},
		{"accept_empty", passcode.ClassInDoubt, "unreadable_answer", domain.Accepted},
		{"accept_html502", passcode.ClassInDoubt, "unreadable_answer", domain.Accepted},
		{"garbage", passcode.ClassInDoubt, "unreadable_answer", domain.NotFound},
		{"accept_code=InternalError", passcode.ClassInDoubt, "InternalError", domain.Accepted},
		{"accept_drop,err=MOBILE_IN_BLACK", passcode.ClassInDoubt, "connection_closed", domain.Undelivered},
		{"throttle", passcode.ClassThrottled, "Throttling.User", domain.NotFound},
		{"code=ServiceUnavailable", passcode.ClassTransient, "ServiceUnavailable", domain.NotFound},
	} {
		t.Run(test.fault, func(t *testing.T) {
			t.Parallel()
			service, sender := start(t, emulator.Options{Faults: []string{test.fault}})
			began := time.Now()
			outcome := sender.Send(t.Context(), message("req-1", "+8613812345678"), time.Time{})
			assert.Equal(t, test.class, outcome.Class)
			assert.Equal(t, test.code, outcome.Code)

			finding, err := sender.Lookup(t.Context(), passcode.NewPhone("+8613812345678"), "req-1", began)
			require.NoError(t, err)
			assert.Equal(t, test.state, finding.State)
			assert.Len(t, service.Sent(), min(int(test.state), 1), "accepted once, or not at all")
		})
	}
}
