// Somebody who knows nothing of Jetlane but docs/protocol.md: enqueues with libnats and reads what came of it.
//   producer URL USER-KEY SEED-FILE NAMESPACE USER
// Prints a line `<what> <value>` for every step; ends with code 1 at the first call that fails unexpectedly.
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 60000

static char subject[256], stream[256];

static void check(const char *what, natsStatus s)
{
    if (s == NATS_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, natsStatus_GetText(s));
    exit(1);
}

static const char *in(char *to, const char *ns, char joint, const char *name)
{
    snprintf(to, 256, "%s%c%s", ns, joint, name);
    return to;
}

static natsStatus publish(jsCtx *js, const char *to, const char *body, const char *id, const char *reply, jsErrCode *code)
{
    natsMsg *msg = NULL;
    jsPubAck *ack = NULL;
    natsStatus s;

    check("message", natsMsg_Create(&msg, to, NULL, body, (int) strlen(body)));
    check("header", natsMsgHeader_Set(msg, "Task-Type", "echo"));
    check("header", natsMsgHeader_Set(msg, "Nats-Msg-Id", id));
    check("header", natsMsgHeader_Set(msg, "Task-Group", "c"));
    if (reply != NULL)
        check("header", natsMsgHeader_Set(msg, "Task-Reply", reply));
    s = js_PublishMsg(&ack, js, msg, NULL, code);
    if (s == NATS_OK)
        printf("%s %s #%llu\n", ack->Duplicate ? "duplicate" : "stored", ack->Stream, (unsigned long long) ack->Sequence);
    jsPubAck_Destroy(ack);
    natsMsg_Destroy(msg);
    return s;
}

int main(int argc, char **argv)
{
    natsOptions *opts = NULL;
    natsConnection *nc = NULL;
    natsSubscription *sub = NULL;
    jsCtx *js = NULL;
    natsMsg *msg = NULL;
    jsErrCode code = 0;
    jsDirectGetMsgOptions last;
    char inbox[128], reply[160], state[256];
    const char *ns;

    if (argc != 6)
        return 2;
    ns = argv[4];
    snprintf(inbox, sizeof inbox, "_INBOX.%s_%s", ns, argv[5]);
    check("options", natsOptions_Create(&opts));
    check("url", natsOptions_SetURL(opts, argv[1]));
    check("key", natsOptions_SetNKeyFromSeed(opts, argv[2], argv[3]));
    check("inbox", natsOptions_SetCustomInboxPrefix(opts, inbox));
    check("connect", natsConnection_Connect(&nc, opts));
    check("jetstream", natsConnection_JetStream(&js, nc, NULL));

    snprintf(reply, sizeof reply, "%s.outcome", inbox);
    check("subscribe", natsConnection_SubscribeSync(&sub, nc, reply));
    in(subject, ns, '.', "tasks.wire.high.c-1");
    check("publish", publish(js, subject, "{\"from\":\"C\"}", "c-1#1", reply, &code));
    check("repeat", publish(js, subject, "{\"from\":\"C\"}", "c-1#1", reply, &code));

    check("outcome", natsSubscription_NextMsg(&msg, sub, PATIENCE_MS));
    printf("outcome %.*s\n", natsMsg_GetDataLength(msg), natsMsg_GetData(msg));
    natsMsg_Destroy(msg);

    jsDirectGetMsgOptions_Init(&last);
    last.LastBySubject = in(state, ns, '.', "states.wire.c-1");
    check("record", js_DirectGetMsg(&msg, js, in(stream, ns, '_', "task_states"), NULL, &last));
    printf("record %.*s\n", natsMsg_GetDataLength(msg), natsMsg_GetData(msg));
    natsMsg_Destroy(msg);

    last.LastBySubject = in(state, ns, '.', "states.wire.nobody");
    printf("unknown %s\n", natsStatus_GetText(js_DirectGetMsg(&msg, js, in(stream, ns, '_', "task_states"), NULL, &last)));

    in(subject, ns, '.', "tasks.tiny.low.c-2");
    check("first", publish(js, subject, "2", "c-2#1", NULL, &code));
    in(subject, ns, '.', "tasks.tiny.low.c-3");
    publish(js, subject, "3", "c-3#1", NULL, &code);
    printf("full %d\n", (int) code);

    natsSubscription_Destroy(sub);
    jsCtx_Destroy(js);
    natsConnection_Destroy(nc);
    natsOptions_Destroy(opts);
    nats_Close();
    return 0;
}
