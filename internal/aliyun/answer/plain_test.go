package answer_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	dysmsapi "github.com/alibabacloud-go/dysmsapi-20170525/v3/client"
	util "github.com/alibabacloud-go/tea-utils/v2/service"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
)

const okBody = `{"Message":"OK","RequestId":"F655A8D5-B967-440B-8683-DAD6FF8DE990","BizId":"900619746936498440^0","Code":"OK"}`

// said is an SDK's HTTP client that has one answer.
type said []byte

func (s said) Call(*http.Request, *http.Transport) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(s))}, nil
}

// FuzzPlain: an answer that is read the short way is read by the SDK and by Open as the same.
func FuzzPlain(f *testing.F) {
	for _, body := range []string{
		okBody, `{"Code":"OK"}`, `{"BizId":"1^0","Code":"OK"}`, `{"Code":"OK","Code":"OK"}`, `{"Code":"OK",}`, `{"Code":"OK"}}`,
		`{"Code":"OK","Message":"\u0041"}`, `{"Code":"OK","Message":"测"}`, `{"Code":"OK" ,"Message":"OK"}`, `{"code":"OK"}`, "{\"", "",
	} {
		f.Add([]byte(body))
	}
	endpoint, key := "127.0.0.1:1", "k"
	f.Fuzz(func(t *testing.T, body []byte) {
		plain, ok := answer.Plain(http.StatusOK, body)
		if !ok {
			return
		}
		open, err := answer.Open(http.StatusOK, body)
		require.NoError(t, err)
		require.Equal(t, open, plain)
		sdk, err := dysmsapi.NewClient(&openapi.Config{Endpoint: &endpoint, NoProxy: &endpoint, AccessKeyId: &key, AccessKeySecret: &key})
		require.NoError(t, err)
		sdk.HttpClient = said(body)
		number := "13812345678"
		response, err := sdk.SendSmsWithOptions((&dysmsapi.SendSmsRequest{}).SetPhoneNumbers(number).SetSignName("s").SetTemplateCode("t"), &util.RuntimeOptions{})
		require.NoError(t, err)
		text := func(p *string) string {
			if p == nil {
				return ""
			}
			return *p
		}
		b := response.Body
		bySDK := answer.Envelope{Code: text(b.Code), Message: text(b.Message), RequestID: text(b.RequestId), BizID: text(b.BizId)}
		assert.Equal(t, bySDK, plain)
	})
}

func TestPlainAnswers(t *testing.T) {
	t.Parallel()
	_, ok := answer.Plain(http.StatusOK, []byte(okBody))
	assert.True(t, ok, "the usual answer is read the short way")
	for _, body := range []string{`{"Code":"Throttling"}`, `{"Code":"OK","Code":"OK"}`, `{"Code":"OK","Other":"x"}`, `{"Code":"OK"}x`, `{"Code":"O\u004b"}`, `{"Code":"OK","Message":""}`} {
		_, ok := answer.Plain(http.StatusOK, []byte(body))
		assert.False(t, ok, body)
	}
	_, ok = answer.Plain(http.StatusForbidden, []byte(okBody))
	assert.False(t, ok)
}
