/* ext_authz checks as a proxy sends them: unpacked, made attributes of, decided. */
#include <stdint.h>
#include <string.h>

#include "common/schema/decode.h"
#include "common/schema/pb.h"
#include "mixer/attr/check.h"
#include "mixer/rule/compile.h"
#include "mixer/serve/verdict.h"

static const char config[] =
	"{apiVersion: config.istio.io/v1alpha2, kind: listchecker, metadata: {name: l, namespace: "
	"istio-system}, spec: {overrides: ['10.0.0.0/8'], entryType: IP_ADDRESSES}}\n---\n"
	"{apiVersion: config.istio.io/v1alpha2, kind: listentry, metadata: {name: e, namespace: "
	"istio-system}, spec: {value: 'request.headers[\"x\"] | request.path | source.labels[\"app\"] "
	"| \"none\"'}}\n---\n"
	"{apiVersion: config.istio.io/v1alpha2, kind: rule, metadata: {name: r, namespace: "
	"istio-system}, spec: {match: '(request.query_params[\"q\"] | \"\") != \"x\"', "
	"requestHeaderOperations: [{name: x-who, values: ['source.principal | \"\"']}], actions: "
	"[{handler: l.listchecker, instances: [e.listentry]}]}}\n";

static struct mixer_adapter_env env = { .clock = &mt_clock_system };
static struct mt_objects objects; /* kept, as all of these, to the end of the process */
static struct mixer_compiler *compiler;
static struct mixer_program *program;

static void start(void)
{
	struct mt_diags diags = { 0 };

	if (mt_decode_text("fuzz", config, strlen(config), NULL, &objects, &diags) < 0)
		__builtin_trap();
	compiler = mixer_compiler_new(
		&(struct mixer_compiler_opts){ .env = &env, .root_namespace = "istio-system" });
	program = mixer_compiler_run(compiler, objects.v, objects.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mt_arena *message = mt_arena_new(8 << 20), *scratch = mt_arena_new(0);
	const struct mixer_check_opts o = { size & 1, 0 };
	const ProtobufCMessage *m;
	struct mixer_outcome out;
	struct mixer_facts f;
	struct mt_buf answer = { 0 };

	if (!program)
		start();
	m = mt_pb_unpack(&auth__check_request__descriptor, message, data, size, NULL);
	if (m) {
		mixer_facts_init(&f, program->words->vocab, scratch);
		mixer_attr_check(&f, (const Auth__CheckRequest *)m, &o);
		if (mixer_program_check(program, &f.bag, scratch, &out, NULL) == 0)
			mixer_verdict_pack(&out, scratch, &answer);
	}
	mt_buf_clear(&answer);
	mt_arena_free(message);
	mt_arena_free(scratch);
	return 0;
}
