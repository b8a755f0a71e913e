// Clients of `load` that do not hold still: the last --slow read so many bytes a second, and --cut-rate of the others a
// second are cut off and come back with the cursor of their last set. Included by load.c, which has the sockets.
//
// With --seq-key each row of a set of changes carries a number that counts the changes of the source (`fakemz --sequence`,
// whose rows take turns): what a client was told is then checked set by set, without keeping rows. After a client has been
// told everything up to number s, a set that reaches to m must hold exactly the last min(m - s, rows) numbers up to m,
// each once, for a net set holds a row that changed twice only with its newest number.
// The query must select `cursor phase complete` in this order before `changes`.
#define CURSOR_MAX 480
static int o_slow=0, o_slow_bps=1024, o_slow_rcvbuf=4096, o_seq_rows=0; static double o_cut_rate=0, o_cut_gap_ms=200;
static const char*o_seqkey=0; static char seqpat[128]; static size_t seqlen;

enum { P_SNAPSHOT,P_READY,P_LIVE,P_RESET,P_NONE };
typedef struct {
  char cursor[CURSOR_MAX]; int cursor_len;
  i64 seq;                        // it has been told every change up to this number
  i64 set_min,set_max,set_rows;   // of the set that is coming in: it may have several parts
  int live, slow, returning;      // live: its snapshot is complete; returning: nothing was received since it came back
  i64 due, t_back;                // when a client that was cut comes back; when it began to
} unsteady;
static unsteady*U;
static hist HSLOW,HBACK;          // latency of slow readers' rows; from connecting again to the first set
static i64 n_cuts,n_back,n_resumed,n_reset,n_snapshot,n_merged,n_gaps,n_dups,n_sets,slow_sets,slow_merged; static int n_slow_dead;
static int *returns,ret_head,ret_tail; static int cut_at,slow_at; static i64 unsteady_from,cuts_due,slow_due,cutting;

static int is_slow(cl*c){ return unsteady_from&&c->idx>=o_clients-o_slow; }
static hist*slow_hist(void){ return &HSLOW; }
static int cursor_of(int client,char*o){
  if(!U||!U[client].cursor_len){ strcpy(o,"null"); return 4; }
  o[0]='"'; memcpy(o+1,U[client].cursor,U[client].cursor_len); o[U[client].cursor_len+1]='"'; return U[client].cursor_len+2;
}
static void unsteady_init(void){
  U=calloc(o_clients,sizeof(unsteady)); returns=calloc(o_clients+1,sizeof(int));
  if(o_slow>o_clients) o_slow=o_clients;
  if(o_seqkey){ snprintf(seqpat,128,"\"%s\":",o_seqkey); seqlen=strlen(seqpat); }
}

// ---- what a message says
static int word(const char*m,size_t n,const char*key,const char**value){   // the text after "key":, near the beginning
  size_t k=strlen(key); const char*p=memmem(m,n>900?900:n,key,k); if(!p) return 0;
  p+=k; while(p<m+n&&*p==' ') p++; *value=p; return (int)(m+n-p);
}
static int phase_of(const char*m,size_t n){
  const char*v; if(word(m,n,"\"phase\":",&v)<10) return P_NONE;
  switch(v[1]){ case 's': return P_SNAPSHOT; case 'l': return P_LIVE; default: return !strncasecmp(v+1,"rea",3)?P_READY:P_RESET; }
}
static void keep_cursor(unsteady*u,const char*m,size_t n){
  const char*v; int left=word(m,n,"\"cursor\":",&v); if(left<3||*v!='"') return;
  const char*e=memchr(v+1,'"',left-1<CURSOR_MAX?left-1:CURSOR_MAX); if(!e) return;
  u->cursor_len=(int)(e-v-1); memcpy(u->cursor,v+1,u->cursor_len);
}
static void judge_set(unsteady*u){
  i64 n=u->set_rows, to=u->set_max, missed=to-u->seq; n_sets++; if(u->slow) slow_sets++;
  if(!n) return;
  if(n>1){ n_merged++; if(u->slow) slow_merged++; }
  i64 due=o_seq_rows&&missed>o_seq_rows?o_seq_rows:missed;
  if(missed<=0||n>due||u->set_min<=u->seq) n_dups++; else if(n<due||u->set_min!=to-n+1) n_gaps++;
  if(to>u->seq) u->seq=to;
}
static void look(cl*c,const char*m,size_t n){
  if(!o_seqkey&&!o_cut_rate) return;
  unsteady*u=&U[c->idx]; keep_cursor(u,m,n);
  int phase=phase_of(m,n); if(phase==P_NONE) return;
  if(u->returning){
    u->returning=0; n_back++; hadd(&HBACK,now-u->t_back);
    if(phase==P_LIVE) n_resumed++; else if(phase==P_RESET) n_reset++; else n_snapshot++;
  }
  if(phase==P_RESET){ u->live=0; u->seq=0; return; }
  if(o_seqkey) for(const char*p=m,*e=m+n;(p=memmem(p,e-p,seqpat,seqlen));){
    p+=seqlen; i64 v=atoll(p);
    if(phase==P_SNAPSHOT){ if(v>u->seq) u->seq=v; continue; }
    if(!u->set_rows||v<u->set_min) u->set_min=v;
    if(!u->set_rows||v>u->set_max) u->set_max=v;
    u->set_rows++;
  }
  if(phase==P_READY) u->live=1;
  const char*v; int part=word(m,n,"\"complete\":",&v)>0&&*v=='f';
  if(phase==P_LIVE&&!part){ u->live=1; judge_set(u); u->set_rows=0; }
}

// ---- what they do
static void cut(cl*c){   // every other one without a goodbye, as a broken network path does it
  if(n_cuts&1){ struct linger l={1,0}; setsockopt(c->fd,SOL_SOCKET,SO_LINGER,&l,sizeof l); }
  close(c->fd); c->fd=-1; c->st=S_IDLE; nsub--; nconn--; nacked--; n_cuts++;
  c->len=c->off=0; c->fraglen=0; c->outlen=c->outoff=0; free(c->buf); c->buf=0; c->cap=0;
  unsteady*u=&U[c->idx]; u->set_rows=0; u->due=now+(i64)(o_cut_gap_ms*1e6);
  returns[ret_tail++]=c->idx; if(ret_tail>o_clients) ret_tail=0;
}
static void come_back(void){
  while(ret_head!=ret_tail&&U[returns[ret_head]].due<=now){
    cl*c=&C[returns[ret_head++]]; if(ret_head>o_clients) ret_head=0;
    U[c->idx].returning=1; U[c->idx].t_back=now; start_client(c);
  }
}
static void cut_some(void){
  i64 want=(i64)((now-unsteady_from)/1e9*o_cut_rate); int fast=o_clients-o_slow, tried=0;
  while(cuts_due<want&&tried++<fast){
    cl*c=&C[cut_at]; unsteady*u=&U[cut_at]; cut_at=(cut_at+1)%fast;
    if(c->st==S_SUB&&u->live&&u->cursor_len&&!u->returning){ cut(c); cuts_due++; }
  }
}
static void be_slow(int on){
  for(int i=o_clients-o_slow;i<o_clients;i++){
    cl*c=&C[i]; if(c->st!=S_SUB||U[i].slow==on) continue;
    U[i].slow=on; c->stalled=on; struct epoll_event e={.events=EPOLLIN,.data.u32=i};
    epoll_ctl(ep,on?EPOLL_CTL_DEL:EPOLL_CTL_ADD,c->fd,&e);
    int size=on?o_slow_rcvbuf:1<<20; setsockopt(c->fd,SOL_SOCKET,SO_RCVBUF,&size,sizeof size);
  }
}
static void read_slowly(void){   // each once a second, one after the other
  i64 want=(i64)((now-unsteady_from)/1e9*o_slow);
  for(int turns=0;slow_due<want&&turns<o_slow;slow_due++,turns++){
    cl*c=&C[o_clients-o_slow+slow_at]; slow_at=(slow_at+1)%o_slow;
    if(c->st==S_SUB){ read_max=o_slow_bps; readable(c); read_max=1<<20; if(c->st==S_DEAD) n_slow_dead++; }
  }
}
static void unsteady_tick(void){
  if(!unsteady_from) return;
  if(cutting&&o_cut_rate>0) cut_some();
  come_back();
  if(o_slow&&cutting) read_slowly();
}
static void unsteady_start(void){ if(o_slow||o_cut_rate>0){ unsteady_from=now; cutting=1; be_slow(1); } }
static void unsteady_stop(void){ cutting=0; be_slow(0); }   // so that all can be seen to end at the same number

static int returning_now(void){ int n=ret_tail-ret_head; if(n<0) n+=o_clients+1; for(int i=0;i<o_clients;i++) n+=U[i].returning; return n; }
static void unsteady_report(i64 last){
  int fast=0,late=0,slow=0,slow_late=0;
  for(int i=0;i<o_clients;i++){
    int behind=o_seqkey&&U[i].seq!=last; if(C[i].st!=S_SUB) continue;
    if(i>=o_clients-o_slow){ slow++; slow_late+=behind; } else { fast++; late+=behind; }
  }
  printf("\"unsteady\":{\"cuts\":%ld,\"back\":%ld,\"resumed\":%ld,\"reset\":%ld,\"snapshot\":%ld,\"not_back\":%d,\"sets\":%ld,\"merged_sets\":%ld,\"gaps\":%ld,\"duplicates\":%ld,"
    "\"slow_dead\":%d,\"slow_sets\":%ld,\"slow_merged_sets\":%ld,\"last_change\":%ld,\"fast_open\":%d,\"fast_not_level\":%d,\"slow_open\":%d,\"slow_not_level\":%d,",
    n_cuts,n_back,n_resumed,n_reset,n_snapshot,returning_now(),n_sets,n_merged,n_gaps,n_dups,n_slow_dead,slow_sets,slow_merged,last,fast,late,slow,slow_late);
  printf("\"back_ms\":{\"n\":%lu,\"p50\":%.2f,\"p99\":%.2f,\"max\":%.2f},\"slow_lat_ms\":{\"n\":%lu,\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f}},",
    HBACK.n,hq(&HBACK,.5),hq(&HBACK,.99),HBACK.max/1e6,HSLOW.n,hq(&HSLOW,.5),hq(&HSLOW,.99),HSLOW.max/1e6);
}
