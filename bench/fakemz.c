// fakemz: a small fast fake Materialize for load tests. Single thread, epoll, pgwire.
// Build: make (in this folder). The catalogue that it answers is in fakemz_catalogue.h.
// Speaks: SSLRequest/GSSENC -> 'N', startup (trust), cancel, simple query (multi-statement), a minimal extended
// protocol, COPY (SUBSCRIBE ...) TO STDOUT (text), DECLARE c CURSOR FOR SUBSCRIBE ... + FETCH ... c WITH (timeout='..').
// SUBSCRIBE forms: [TO] name | (SELECT cols FROM name); ENVELOPE UPSERT (KEY (k,..)); WITH (SNAPSHOT [= bool], PROGRESS [= bool]);
// AS OF [AT LEAST] n. There is no history: AT LEAST starts now, an older n alone is the compaction error. With PROGRESS every
// timestamp is closed by a progress row at once. A tick's changes are one timestamp, or --per-tx changes each.
// Output columns: mz_timestamp [, mz_progressed], (mz_state, keys.., values..) | (mz_diff, cols..).
// Within one timestamp a key changes at most once (Materialize consolidates), so a batch never has more events than rows.
// --sequence: every change is an update, rows take turns, and qty counts the changes: who follows can tell what it missed.
// Any table name maps to the `trades` profile; only its columns may be selected.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

typedef int64_t i64; typedef uint64_t u64; typedef uint32_t u32; typedef uint8_t u8;
#define SNAP_NS 1000000000000000000LL   // sent_ns of rows that came with the initial table (19 digits, year 2001)

// ---------------------------------------------------------------- options
static int o_port = 6875, o_ctl = 0, o_rows = 1000, o_syms = 500, o_batch_ms = 20, o_pad = 0, o_progress_ms = 1000, o_quiet = 0, o_per_tx = 0, o_sequence = 0;
static double o_rate = 0, o_start_delay = 1, o_duration = 0, o_symchange = 0;   // rate <0: as fast as the sockets take
static double o_ins = 5, o_upd = 90, o_del = 5;
static u64 o_seed = 1;
static i64 o_maxbuf = 512LL << 20;

// ---------------------------------------------------------------- util
static u64 rs[2];
static inline u64 rnd(void){ u64 a=rs[0],b=rs[1]; rs[0]=b; a^=a<<23; rs[1]=a^b^(a>>17)^(b>>26); return rs[1]+b; }
static inline u32 rndn(u32 n){ return (u32)(((rnd()>>32)*(u64)n)>>32); }
static inline double rndf(void){ return (rnd()>>11)*(1.0/9007199254740992.0); }
static inline i64 now_ns(void){ struct timespec t; clock_gettime(CLOCK_REALTIME,&t); return t.tv_sec*1000000000LL+t.tv_nsec; }
typedef struct { char*p; size_t len, cap, off; } buf;
static inline void need(buf*b,size_t n){ if(b->len+n>b->cap){ size_t c=b->cap?b->cap:4096; while(c<b->len+n)c*=2; b->p=realloc(b->p,c); if(!b->p)abort(); b->cap=c; } }
static inline void put(buf*b,const void*s,size_t n){ need(b,n); memcpy(b->p+b->len,s,n); b->len+=n; }
static inline void puts_(buf*b,const char*s){ put(b,s,strlen(s)); }
static inline void put8(buf*b,int v){ need(b,1); b->p[b->len++]=(char)v; }
static inline void put16(buf*b,int v){ u8 x[2]={v>>8,v}; put(b,x,2); }
static inline void put32(buf*b,u32 v){ u8 x[4]={v>>24,v>>16,v>>8,v}; put(b,x,4); }
static inline u32 get32(const char*p){ const u8*q=(const u8*)p; return (u32)q[0]<<24|q[1]<<16|q[2]<<8|q[3]; }
static inline int get16(const char*p){ const u8*q=(const u8*)p; return q[0]<<8|q[1]; }
static inline char* u64s(char*p,u64 v){ char t[24]; int n=0; do{ t[n++]='0'+v%10; v/=10; }while(v); while(n)*p++=t[--n]; return p; }
static inline char* i64s(char*p,i64 v){ if(v<0){ *p++='-'; return u64s(p,(u64)-v);} return u64s(p,(u64)v); }
static inline char* d2(char*p,int v){ *p++='0'+v/10; *p++='0'+v%10; return p; }

// ---------------------------------------------------------------- table `trades`
typedef struct { i64 id, price, exec_us, sent_ns; int qty; u32 tick; uint16_t sym; u8 side; } row;   // price in 1/10000
enum { C_ID,C_SYMBOL,C_SIDE,C_PRICE,C_QTY,C_EXEC,C_SENT,C_NOTE,NCOL };
static const char*colname[NCOL]={"id","symbol","side","price","qty","executed_at","sent_ns","note"};
static const char*coltype[NCOL]={"bigint","text","text","numeric","integer","timestamp with time zone","bigint","text"};
static const int coloid[NCOL]={20,25,25,1700,23,1184,20,25};
static row*tab; static u32 ntab, captab; static i64 next_id=1; static char*padtxt;
static i64 g_ts, g_events, g_ins, g_upd, g_del, g_ticks, g_skipped, g_lines, g_changed_at;   // g_changed_at: the timestamp of the last change
typedef struct { u8 kind; row o,n; } ev;   // kind 0 insert 1 update 2 delete
static ev*evs; static u32 nev, capev;

static void fresh(row*r,i64 t){ r->tick=(u32)g_ticks; r->id=next_id++; r->sym=rndn(o_syms); r->side=rndn(2); r->price=100000+rndn(9000000); r->qty=1+rndn(1000); r->exec_us=t/1000; }
static void init_table(void){
  captab=o_rows+1024; tab=malloc(sizeof(row)*(size_t)captab); i64 t=now_ns();
  for(int i=0;i<o_rows;i++){ fresh(&tab[i],t); tab[i].sym=i%o_syms; tab[i].sent_ns=SNAP_NS; if(o_sequence) tab[i].qty=0; } ntab=o_rows;
  padtxt=malloc(o_pad+1); for(int i=0;i<o_pad;i++)padtxt[i]='a'+i%26; padtxt[o_pad]=0;
}
static void gen(u32 n){
  i64 t=now_ns(), ms=t/1000000; g_ts = ms>g_ts?ms:g_ts+1; g_changed_at=g_ts; nev=0; g_ticks++;
  if(capev<n){ capev=n+1024; evs=realloc(evs,sizeof(ev)*(size_t)capev); }
  for(u32 k=0;k<n;k++){
    if((k&15)==15) t=now_ns();
    double x=rndf()*(o_ins+o_upd+o_del); u32 pick=0;
    if(o_sequence&&ntab){ x=o_ins; pick=(u32)(g_upd%ntab); if(tab[pick].tick==(u32)g_ticks) break; }
    else if(x>=o_ins&&ntab){ int ok=0; for(int z=0;z<8&&!ok;z++){ pick=rndn(ntab); ok=tab[pick].tick!=(u32)g_ticks; } if(!ok) continue; }   // one change per key and timestamp, as Materialize consolidates
    ev*e=&evs[nev++];
    if(x<o_ins||!ntab){ if(ntab==captab){ captab*=2; tab=realloc(tab,sizeof(row)*(size_t)captab);} row*r=&tab[ntab++]; fresh(r,t); r->sent_ns=t; e->kind=0; e->n=*r; g_ins++; }
    else if(x<o_ins+o_upd){ row*r=&tab[pick]; r->tick=(u32)g_ticks; e->o=*r; r->price+=(i64)rndn(2001)-1000; if(r->price<1)r->price=1; r->qty=o_sequence?(int)(g_upd+1):1+(int)rndn(1000); r->exec_us=t/1000; r->sent_ns=t;
      if(o_symchange>0&&rndf()<o_symchange) r->sym=rndn(o_syms); e->kind=1; e->n=*r; g_upd++; }
    else { u32 i=pick; e->kind=2; e->o=tab[i]; e->n=tab[i]; tab[i]=tab[--ntab]; g_del++; }
  }
  g_events+=nev;
}
static i64 exec_day=-1; static char exec_date[16];
static char* col(char*p,const row*r,int c){
  switch(c){
    case C_ID: return i64s(p,r->id);
    case C_SYMBOL: *p++='S'; return u64s(p,r->sym);
    case C_SIDE: memcpy(p,r->side?"sell":"buy",4); return p+(r->side?4:3);
    case C_PRICE: { p=i64s(p,r->price/10000); int f=r->price%10000; *p++='.'; p=d2(p,f/100); return d2(p,f%100); }
    case C_QTY: return i64s(p,r->qty);
    case C_EXEC: { i64 us=r->exec_us, s=us/1000000, d=s/86400; int sod=s%86400, u=us%1000000;
      if(d!=exec_day){ time_t tt=s; struct tm tm; gmtime_r(&tt,&tm); strftime(exec_date,16,"%Y-%m-%d",&tm); exec_day=d; }
      memcpy(p,exec_date,10); p+=10; *p++=' '; p=d2(p,sod/3600); *p++=':'; p=d2(p,sod/60%60); *p++=':'; p=d2(p,sod%60); *p++='.';
      p=d2(p,u/10000); p=d2(p,u/100%100); p=d2(p,u%100); memcpy(p,"+00",3); return p+3; }
    case C_SENT: return i64s(p,r->sent_ns);
    default: memcpy(p,padtxt,o_pad); return p+o_pad;
  }
}

// ---------------------------------------------------------------- connections
typedef struct { int active, upsert, progress, snapshot, ncol, nkey, cols[32]; i64 rows_sent, as_of; } sub;   // as_of 0: now; cols: keys first when upsert
typedef struct conn { int fd, ctl, started, closing, want; buf in, out; sub s; int copying;
  // cursor
  sub cur; char curname[64]; buf cq; i64 cqrows; int fetch_wait; i64 fetch_max, fetch_deadline; int fetch_ext; char fetch_tag[16];
  // extended protocol
  char*stmt, *portal; int skip_sync; i64 secret; struct conn*next; } conn;
static conn*conns; static int ep, lfd=-1, cfd=-1, tfd; static i64 next_secret=1000;
static double g_rate; static i64 g_start_at, g_stop_at; static double acc; static i64 last_tick, last_progress; static int g_paused;
static struct epoll_event evb[256];

static void upd_epoll(conn*c){ int w=c->out.len>c->out.off; if(w==c->want) return; c->want=w; struct epoll_event e={.events=EPOLLIN|(w?EPOLLOUT:0),.data.ptr=c}; epoll_ctl(ep,EPOLL_CTL_MOD,c->fd,&e); }
static void flush_(conn*c){
  while(c->out.off<c->out.len){ ssize_t n=send(c->fd,c->out.p+c->out.off,c->out.len-c->out.off,MSG_NOSIGNAL);
    if(n<0){ if(errno==EINTR)continue; if(errno!=EAGAIN) c->closing=2; break; } c->out.off+=n; }
  if(c->out.off==c->out.len){ c->out.off=c->out.len=0; if(c->out.cap>(16u<<20)){ free(c->out.p); c->out.p=0; c->out.cap=0; } }
  else if(c->out.off>(4u<<20)&&c->out.off>c->out.len/2){ memmove(c->out.p,c->out.p+c->out.off,c->out.len-c->out.off); c->out.len-=c->out.off; c->out.off=0; }
}
static inline size_t mstart(buf*b,char t){ put8(b,t); put32(b,0); return b->len-4; }
static inline void mend(buf*b,size_t at){ u32 n=b->len-at; u8*q=(u8*)b->p+at; q[0]=n>>24;q[1]=n>>16;q[2]=n>>8;q[3]=n; }
static void m_err(buf*b,const char*code,const char*msg){ size_t a=mstart(b,'E'); puts_(b,"SERROR"); put8(b,0); puts_(b,"VERROR"); put8(b,0); put8(b,'C'); puts_(b,code); put8(b,0); put8(b,'M'); puts_(b,msg); put8(b,0); put8(b,0); mend(b,a); }
static void m_ready(buf*b){ size_t a=mstart(b,'Z'); put8(b,'I'); mend(b,a); }
static void m_complete(buf*b,const char*t){ size_t a=mstart(b,'C'); puts_(b,t); put8(b,0); mend(b,a); }
static void m_desc(buf*b,int n,const char**names,const int*oids){ size_t a=mstart(b,'T'); put16(b,n); for(int i=0;i<n;i++){ puts_(b,names[i]); put8(b,0); put32(b,0); put16(b,0); put32(b,oids?oids[i]:25); put16(b,-1); put32(b,-1); put16(b,0);} mend(b,a); }
static void m_row(buf*b,int n,const char**v){ size_t a=mstart(b,'D'); put16(b,n); for(int i=0;i<n;i++){ if(!v[i]) put32(b,-1); else { put32(b,strlen(v[i])); puts_(b,v[i]); } } mend(b,a); }

// encode one output row as tab separated text; kind: 0 upsert/insert(+1), 2 delete(-1), 3 progress
static char* enc_text(char*p,const sub*s,i64 ts,const row*r,int kind){
  p=u64s(p,ts);
  if(s->progress){ *p++='\t'; *p++=kind==3?'t':'f'; }
  *p++='\t';
  if(kind==3){ *p++='\\';*p++='N'; for(int i=0;i<s->ncol;i++){ *p++='\t';*p++='\\';*p++='N'; } }
  else if(s->upsert){ memcpy(p,kind==2?"delete":"upsert",6); p+=6; for(int i=0;i<s->ncol;i++){ *p++='\t'; if(kind==2&&i>=s->nkey){ *p++='\\';*p++='N'; } else p=col(p,r,s->cols[i]); } }
  else { if(kind==2){ *p++='-'; } *p++='1'; for(int i=0;i<s->ncol;i++){ *p++='\t'; p=col(p,r,s->cols[i]); } }
  *p++='\n'; return p;
}
static inline void copy_row(buf*b,sub*s,i64 ts,const row*r,int kind){
  need(b,1024+o_pad); char*m=b->p+b->len; m[0]='d'; char*e=enc_text(m+5,s,ts,r,kind); u32 n=e-m-1; m[1]=n>>24;m[2]=n>>16;m[3]=n>>8;m[4]=n; b->len+=e-m; s->rows_sent++; g_lines++;
}
static void data_row(buf*b,sub*s,i64 ts,const row*r,int kind){   // DataRow form, for cursors
  char t[1024+4096]; char*e=enc_text(t,s,ts,r,kind); e[-1]=0; size_t a=mstart(b,'D'); int n=1+s->progress+1+s->ncol; put16(b,n);
  char*q=t; for(int i=0;i<n;i++){ char*z=strchr(q,'\t'); size_t l=z?(size_t)(z-q):strlen(q); if(l==2&&q[0]=='\\'&&q[1]=='N') put32(b,-1); else { put32(b,l); put(b,q,l);} q+=l+1; } mend(b,a); s->rows_sent++;
}
static void emit(conn*c,sub*s,int cursor,i64 ts,const row*r,int kind){ if(cursor){ data_row(&c->cq,s,ts,r,kind); c->cqrows++; } else copy_row(&c->out,s,ts,r,kind); }
static void emit_ev(conn*c,sub*s,int cursor,const ev*e){
  if(s->upsert) emit(c,s,cursor,g_ts,e->kind==2?&e->o:&e->n,e->kind==2?2:0);
  else { if(e->kind) emit(c,s,cursor,g_ts,&e->o,2); if(e->kind!=2) emit(c,s,cursor,g_ts,&e->n,0); }
}
static void start_sub(conn*c,sub*s,int cursor){
  s->active=1; s->rows_sent=0; i64 ms=now_ns()/1000000; if(ms>g_ts) g_ts=ms; else if(!g_ts) g_ts=ms;
  i64 from=s->as_of?s->as_of:g_ts;   // nothing has changed since, see parse_sub
  if(s->progress) emit(c,s,cursor,from,0,3);
  if(s->snapshot) for(u32 i=0;i<ntab;i++) emit(c,s,cursor,from,&tab[i],0);
  if(s->progress) emit(c,s,cursor,g_ts+1,0,3);
  g_ts++;
}

// ---------------------------------------------------------------- SQL
static const char* ci(const char*h,const char*n){ return strcasestr(h,n); }
static const char* ws(const char*p){ while(*p&&isspace((u8)*p))p++; return p; }
static const char* ident(const char*p,char*o,int n){ p=ws(p); int k=0; if(*p=='"'){ p++; while(*p&&*p!='"'){ if(k<n-1)o[k++]=*p; p++; } if(*p)p++; } else while(*p&&(isalnum((u8)*p)||*p=='_'||*p=='.'||*p=='*')){ if(k<n-1)o[k++]=*p; p++; } o[k]=0; return p; }
static const char* qname(const char*p,char*o,int n){ for(;;){ p=ident(p,o,n); p=ws(p); if(*p!='.') return p; p++; } }   // "db"."schema"."name": the last part
static int colid(const char*n){ const char*d=strrchr(n,'.'); if(d)n=d+1; for(int i=0;i<NCOL;i++) if(!strcasecmp(n,colname[i])) return i; return -1; }
static int opt_bool(const char*p,const char*name,int dflt){ p=ci(p,name); if(!p) return dflt; p=ws(p+strlen(name)); if(*p=='=')p=ws(p+1); if(!strncasecmp(p,"false",5)||!strncasecmp(p,"off",3)) return 0; return 1; }
static int parse_sub(const char*q,sub*s,char*err){
  memset(s,0,sizeof*s); const char*p=ci(q,"SUBSCRIBE"); if(!p){ strcpy(err,"no SUBSCRIBE"); return -1; } p=ws(p+9);
  if(!strncasecmp(p,"TO",2)&&isspace((u8)p[2])) p=ws(p+2);
  int sel[32],ns=0; char id[128];
  if(*p=='('){ p=ws(p+1); if(strncasecmp(p,"SELECT",6)){ strcpy(err,"expected SELECT"); return -1; } p+=6;
    for(;;){ p=ident(p,id,128); if(!strcmp(id,"*")){ for(int i=0;i<(o_pad?NCOL:NCOL-1);i++) sel[ns++]=i; } else { int k=colid(id); if(k<0){ snprintf(err,200,"column \"%s\" does not exist",id); return -2; } sel[ns++]=k; } p=ws(p); if(*p==','){ p++; if(ns>=24)break; continue; } break; }
    if(strncasecmp(p,"FROM",4)){ strcpy(err,"expected FROM"); return -1; } p=qname(p+4,id,128); int d=1; while(*p&&d){ if(*p=='(')d++; if(*p==')')d--; p++; }
  } else { p=qname(p,id,128); for(int i=0;i<(o_pad?NCOL:NCOL-1);i++) sel[ns++]=i; }
  const char*env=ci(p,"ENVELOPE UPSERT"); int key[8],nk=0;
  if(env){ s->upsert=1; const char*k=ci(env,"KEY"); if(!k){ strcpy(err,"expected KEY"); return -1; } k=ws(k+3); if(*k=='(')k++; for(;;){ k=ident(k,id,128); int x=colid(id); if(x<0){ snprintf(err,200,"column \"%s\" does not exist",id); return -2; } if(nk<8)key[nk++]=x; k=ws(k); if(*k==','){k++;continue;} break; } p=*k==')'?k+1:k; }
  for(int i=0;i<nk;i++) s->cols[s->ncol++]=key[i];
  for(int i=0;i<ns;i++){ int isk=0; for(int j=0;j<nk;j++) if(key[j]==sel[i]) isk=1; if(!isk) s->cols[s->ncol++]=sel[i]; }
  s->nkey=nk; s->progress=opt_bool(p,"PROGRESS",0); s->snapshot=opt_bool(p,"SNAPSHOT",1);
  const char*as=ci(p,"AS OF"); if(as){ as=ws(as+5); int least=!strncasecmp(as,"AT LEAST",8); if(least) as=ws(as+8); i64 at=strtoll(as,0,10);
    if(at>g_ts) g_ts=at;   // a start in the near future: our clock is what we say it is
    if(!least) s->as_of=at;
    if(!least&&at<g_changed_at){ snprintf(err,200,"Timestamp (%lld) is not valid for all inputs: [Antichain { elements: [%lld] }]",(long long)at,(long long)g_ts); return -3; } }
  return 0;
}
static int sub_cols(sub*s,const char**names,int*oids){ int n=0; names[n]="mz_timestamp"; oids[n++]=1700; if(s->progress){ names[n]="mz_progressed"; oids[n++]=16; } names[n]=s->upsert?"mz_state":"mz_diff"; oids[n++]=s->upsert?25:20; for(int i=0;i<s->ncol;i++){ names[n]=colname[s->cols[i]]; oids[n++]=coloid[s->cols[i]]; } return n; }
static void fetch_desc(conn*c,int ext){ const char*n[40]; int o[40]; int k=sub_cols(&c->cur,n,o); m_desc(&c->out,k,n,ext?0:o); }
static void fetch_try(conn*c,i64 t){   // send what is there if any or if the deadline passed
  if(!c->fetch_wait) return; if(!c->cqrows&&t<c->fetch_deadline) return;
  i64 n=0; size_t off=c->cq.off; while(n<c->fetch_max&&off<c->cq.len){ off+=1+get32(c->cq.p+off+1); n++; }
  put(&c->out,c->cq.p+c->cq.off,off-c->cq.off); c->cq.off=off; c->cqrows-=n; if(c->cq.off==c->cq.len) c->cq.off=c->cq.len=0;
  char tag[40]; snprintf(tag,40,"FETCH %lld",(long long)n); m_complete(&c->out,tag); c->fetch_wait=0; if(!c->fetch_ext) m_ready(&c->out);
}
#include "fakemz_catalogue.h"
// returns 1 when the connection is now streaming / waiting (no ReadyForQuery to be sent)
static int run_stmt(conn*c,const char*q,int ext,int want_desc){
  q=ws(q); char err[256]; buf*b=&c->out;
  if(!*q){ put8(b,'I'); put32(b,4); return 0; }
  if(!strncasecmp(q,"COPY",4)&&ci(q,"SUBSCRIBE")){
    int r=parse_sub(q,&c->s,err); if(r){ m_err(b,r==-2?"42703":r==-3?"22000":"42601",err); return -1; }
    int n=1+c->s.progress+1+c->s.ncol; size_t a=mstart(b,'H'); put8(b,0); put16(b,n); for(int i=0;i<n;i++)put16(b,0); mend(b,a);
    c->copying=1; start_sub(c,&c->s,0); if(!o_quiet) fprintf(stderr,"[fakemz] COPY start fd=%d cols=%d upsert=%d progress=%d snapshot=%d rows=%u\n",c->fd,c->s.ncol,c->s.upsert,c->s.progress,c->s.snapshot,ntab); return 1;
  }
  if(!strncasecmp(q,"DECLARE",7)){ ident(q+7,c->curname,64); int r=parse_sub(q,&c->cur,err); if(r){ m_err(b,r==-2?"42703":r==-3?"22000":"42601",err); return -1; } c->cq.len=c->cq.off=0; c->cqrows=0; start_sub(c,&c->cur,1); m_complete(b,"DECLARE CURSOR"); return 0; }
  if(!strncasecmp(q,"FETCH",5)){
    if(!c->cur.active){ m_err(b,"34000","cursor does not exist"); return -1; }
    const char*p=ws(q+5); char w[64]; i64 mx=1; const char*p2=ident(p,w,64); if(!strcasecmp(w,"FORWARD")){ p=p2; p2=ident(p,w,64);} if(!strcasecmp(w,"ALL")) mx=1LL<<60; else if(isdigit((u8)w[0])) mx=atoll(w);
    i64 tmo=-1; const char*t=ci(q,"timeout"); if(t){ t+=7; while(*t&&!isdigit((u8)*t))t++; char*e; double v=strtod(t,&e); e=(char*)ws(e); if(!strncasecmp(e,"ms",2)) v/=1000; else if(!strncasecmp(e,"m",1)) v*=60; tmo=(i64)(v*1e9);} 
    if(want_desc) fetch_desc(c,ext); c->fetch_wait=1; c->fetch_ext=ext; c->fetch_max=mx; i64 n=now_ns(); c->fetch_deadline=tmo<0?INT64_MAX:n+tmo; fetch_try(c,n); return c->fetch_wait||!ext?1:0;
  }
  { int r=catalogue(b,q,want_desc); if(r) return r<0?-1:0; }
  if(!strncasecmp(q,"BEGIN",5)||!strncasecmp(q,"START",5)){ m_complete(b,"BEGIN"); return 0; }
  if(!strncasecmp(q,"COMMIT",6)||!strncasecmp(q,"ROLLBACK",8)||!strncasecmp(q,"CLOSE",5)||!strncasecmp(q,"DISCARD",7)){ c->cur.active=0; c->cq.len=c->cq.off=0; c->cqrows=0; char w[32]; ident(q,w,32); for(char*x=w;*x;x++)*x=toupper((u8)*x); m_complete(b,w); return 0; }
  if(!strncasecmp(q,"SET",3)||!strncasecmp(q,"RESET",5)){ m_complete(b,"SET"); return 0; }
  snprintf(err,256,"fakemz: unsupported statement: %.120s",q); m_err(b,"0A000",err); return -1;
}
static void simple(conn*c,char*q){
  char*p=q; int n=0;
  for(;;){ char*e=p; int sq=0,dq=0; while(*e&&(sq||dq||*e!=';')){ if(*e=='\''&&!dq)sq=!sq; if(*e=='"'&&!sq)dq=!dq; e++; } char save=*e; *e=0; const char*t=ws(p);
    if(*t||(!save&&!n)){ n++; int r=run_stmt(c,p,0,1); if(r==1) return; if(r<0){ m_ready(&c->out); return; } }
    if(!save) break; p=e+1; }
  m_ready(&c->out);
}
// n changes in timestamps of --per-tx changes (0: all in one), each to every subscriber and closed by a progress row.
static void round_(u32 n){
  while(n){ u32 k=o_per_tx>0&&(u32)o_per_tx<n?(u32)o_per_tx:n; n-=k; gen(k);
    for(conn*c=conns;c;c=c->next){
      if(c->copying){ for(u32 i=0;i<nev;i++) emit_ev(c,&c->s,0,&evs[i]); if(c->s.progress) emit(c,&c->s,0,g_ts+1,0,3); }
      if(c->cur.active){ for(u32 i=0;i<nev;i++) emit_ev(c,&c->cur,1,&evs[i]); if(c->cur.progress) emit(c,&c->cur,1,g_ts+1,0,3); } } } }
static void stop_copy(conn*c){ if(c->copying){ c->copying=0; c->s.active=0; m_err(&c->out,"57014","canceling statement due to user request"); m_ready(&c->out); } }
static void do_close(conn*c,int rst){ if(rst){ struct linger l={1,0}; setsockopt(c->fd,SOL_SOCKET,SO_LINGER,&l,sizeof l); } c->closing=2; }

static int listen_on(int port){ int f=socket(AF_INET,SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC,0),one=1; setsockopt(f,SOL_SOCKET,SO_REUSEADDR,&one,sizeof one); struct sockaddr_in a={.sin_family=AF_INET,.sin_port=htons(port),.sin_addr.s_addr=htonl(INADDR_LOOPBACK)}; if(bind(f,(void*)&a,sizeof a)||listen(f,128)){ perror("bind/listen"); return -1; } struct epoll_event e={.events=EPOLLIN,.data.ptr=(void*)(intptr_t)(port==o_port?1:2)}; epoll_ctl(ep,EPOLL_CTL_ADD,f,&e); return f; }
static void stats(buf*b){ int k=0; i64 q=0; for(conn*c=conns;c;c=c->next) if(!c->ctl){ if(c->copying||c->cur.active)k++; q+=c->out.len-c->out.off; } struct rusage u; getrusage(RUSAGE_SELF,&u);
  char t[512]; snprintf(t,512,"{\"events\":%lld,\"ins\":%lld,\"upd\":%lld,\"del\":%lld,\"ticks\":%lld,\"rows\":%u,\"rate\":%.1f,\"subs\":%d,\"queued_bytes\":%lld,\"skipped\":%lld,\"lines\":%lld,\"ts\":%lld,\"cpu_s\":%.3f}\n",(long long)g_events,(long long)g_ins,(long long)g_upd,(long long)g_del,(long long)g_ticks,ntab,g_rate,k,(long long)q,(long long)g_skipped,(long long)g_lines,(long long)g_ts,u.ru_utime.tv_sec+u.ru_stime.tv_sec+(u.ru_utime.tv_usec+u.ru_stime.tv_usec)/1e6); puts_(b,t); }
static void ctl_cmd(conn*c,char*l){
  i64 t=now_ns(); double v; char w[32]={0}; sscanf(l,"%31s",w);
  if(!strcmp(w,"rate")&&sscanf(l,"rate %lf",&v)==1){ g_rate=v; acc=0; last_tick=t; g_start_at=t; g_stop_at=0; puts_(&c->out,"ok\n"); }
  else if(!strcmp(w,"burst")&&sscanf(l,"burst %lf",&v)==1){ round_((u32)v); puts_(&c->out,"ok\n"); }
  else if(!strcmp(w,"batch")&&sscanf(l,"batch %lf",&v)==1){ o_batch_ms=(int)v; struct itimerspec s={{o_batch_ms/1000,(o_batch_ms%1000)*1000000L},{o_batch_ms/1000,(o_batch_ms%1000)*1000000L}}; timerfd_settime(tfd,0,&s,0); puts_(&c->out,"ok\n"); }
  else if(!strcmp(w,"pertx")&&sscanf(l,"pertx %lf",&v)==1){ o_per_tx=(int)v; puts_(&c->out,"ok\n"); }
  else if(!strcmp(w,"mix")){ sscanf(l,"mix %lf:%lf:%lf",&o_ins,&o_upd,&o_del); puts_(&c->out,"ok\n"); }
  else if(!strcmp(w,"stats")) stats(&c->out);
  else if(!strcmp(w,"drop")||!strcmp(w,"fin")){ for(conn*k=conns;k;k=k->next) if(!k->ctl&&k!=c) do_close(k,w[0]=='d'); puts_(&c->out,"ok\n"); }
  else if(!strcmp(w,"error")){ for(conn*k=conns;k;k=k->next) if(k->copying){ k->copying=0; k->s.active=0; m_err(&k->out,"XX000","fakemz: injected failure"); m_ready(&k->out); } puts_(&c->out,"ok\n"); }
  else if(!strcmp(w,"endcopy")){ for(conn*k=conns;k;k=k->next) if(k->copying){ k->copying=0; k->s.active=0; put8(&k->out,'c'); put32(&k->out,4); m_complete(&k->out,"COPY 0"); m_ready(&k->out);} puts_(&c->out,"ok\n"); }
  else if(!strcmp(w,"pause")){ g_paused=1; puts_(&c->out,"ok\n"); } else if(!strcmp(w,"resume")){ g_paused=0; last_tick=t; puts_(&c->out,"ok\n"); }
  else if(!strcmp(w,"nolisten")){ if(lfd>=0){ close(lfd); lfd=-1; } puts_(&c->out,"ok\n"); }
  else if(!strcmp(w,"listen")){ if(lfd<0) lfd=listen_on(o_port); puts_(&c->out,"ok\n"); }
  else if(!strcmp(w,"quit")) exit(0);
  else puts_(&c->out,"err unknown command\n");
}
static void handle(conn*c){
  buf*b=&c->in;
  if(c->ctl){ char*nl; while(b->off<b->len&&(nl=memchr(b->p+b->off,'\n',b->len-b->off))){ *nl=0; ctl_cmd(c,b->p+b->off); b->off=nl-b->p+1; } }
  else for(;;){
    if(c->fetch_wait) break;   // later messages (Sync) wait until the FETCH is answered
    size_t have=b->len-b->off; char*p=b->p+b->off;
    if(!c->started){
      if(have<8) break; u32 n=get32(p); if(n<8||n>100000){ c->closing=2; return; } if(have<n) break; u32 code=get32(p+4); b->off+=n;
      if(code==80877103||code==80877104){ put8(&c->out,'N'); continue; }
      if(code==80877102){ u32 pid=get32(p+8),sec=get32(p+12); for(conn*k=conns;k;k=k->next) if(!k->ctl&&(u32)k->fd==pid&&(u32)k->secret==sec) stop_copy(k); c->closing=1; return; }
      c->started=1; c->secret=next_secret++; size_t a=mstart(&c->out,'R'); put32(&c->out,0); mend(&c->out,a);
      static const char*ps[][2]={{"server_version","9.5.0"},{"client_encoding","UTF8"},{"server_encoding","UTF8"},{"DateStyle","ISO, MDY"},{"integer_datetimes","on"},{"standard_conforming_strings","on"},{"TimeZone","UTC"},{"mz_version","v0.130.0 (fakemz)"}};
      for(size_t i=0;i<sizeof ps/sizeof*ps;i++){ a=mstart(&c->out,'S'); puts_(&c->out,ps[i][0]); put8(&c->out,0); puts_(&c->out,ps[i][1]); put8(&c->out,0); mend(&c->out,a); }
      a=mstart(&c->out,'K'); put32(&c->out,c->fd); put32(&c->out,c->secret); mend(&c->out,a); m_ready(&c->out); continue;
    }
    if(have<5) break; u32 n=get32(p+1); if(n<4||n>(64u<<20)){ c->closing=2; return; } if(have<n+1) break; char t=p[0]; char*d=p+5; b->off+=n+1;
    char*tmp=malloc(n+1); memcpy(tmp,d,n-4); tmp[n-4]=0;   // body copy, so that it ends with NUL
    if(c->skip_sync&&t!='S'&&t!='X'){ free(tmp); continue; }
    switch(t){
      case 'Q': simple(c,tmp); break;
      case 'X': c->closing=2; break;
      case 'P': { char*q=tmp+strlen(tmp)+1; free(c->stmt); c->stmt=strdup(q); put8(&c->out,'1'); put32(&c->out,4); break; }
      case 'B': free(c->portal); c->portal=strdup(c->stmt?c->stmt:""); put8(&c->out,'2'); put32(&c->out,4); break;
      case 'D': { const char*q=ws(c->stmt?c->stmt:""); if(tmp[0]=='S'){ size_t a=mstart(&c->out,'t'); put16(&c->out,0); mend(&c->out,a);} 
        if(!strncasecmp(q,"FETCH",5)&&c->cur.active) fetch_desc(c,1); else if(!strncasecmp(q,"SELECT",6)||!strncasecmp(q,"SHOW",4)){ const char*nn[1]={"?column?"}; m_desc(&c->out,1,nn,0);} else { put8(&c->out,'n'); put32(&c->out,4);} break; }
      case 'E': { int r=run_stmt(c,c->portal?c->portal:"",1,0); if(r<0) c->skip_sync=1; break; }
      case 'S': c->skip_sync=0; if(!c->copying) m_ready(&c->out); break;
      case 'C': put8(&c->out,'3'); put32(&c->out,4); break;
      case 'H': case 'p': case 'd': case 'c': case 'f': break;
      default: m_err(&c->out,"08P01","unexpected message"); m_ready(&c->out);
    }
    free(tmp); if(c->closing) return;
  }
  if(b->off==b->len) b->off=b->len=0; else if(b->off>65536){ memmove(b->p,b->p+b->off,b->len-b->off); b->len-=b->off; b->off=0; }
}
static void tick(int from_timer){
  i64 t=now_ns(); int nsub=0; size_t mx=0; for(conn*c=conns;c;c=c->next){ if(c->copying||c->cur.active){ nsub++; size_t q=c->out.len-c->out.off; if(q>mx)mx=q; } }
  if(nsub&&g_rate!=0&&t>=g_start_at&&!g_paused&&(!g_stop_at||t<g_stop_at)){
    u32 n=0;
    if(g_rate<0){ int lim=64; while(lim--){ mx=0; for(conn*c=conns;c;c=c->next) if(c->copying&&c->out.len-c->out.off>mx) mx=c->out.len-c->out.off; if(mx>=256*1024) break; round_(500); for(conn*c=conns;c;c=c->next) if(c->copying) flush_(c); } }
    else if(from_timer){ acc+=g_rate*from_timer*o_batch_ms/1e3+1e-9; n=(u32)acc;   // by the timer's count, so that every tick has the same number
      acc-=n; if(n&&mx>(size_t)o_maxbuf){ g_skipped+=n; n=0; }
      if(n){ round_(n); } }
  }
  if(from_timer) last_tick=t;
  if(o_progress_ms&&t-last_progress>=o_progress_ms*1000000LL&&!g_paused){ last_progress=t; i64 ms=t/1000000; if(ms>g_ts)g_ts=ms; else g_ts++; for(conn*c=conns;c;c=c->next){ if(c->copying&&c->s.progress) emit(c,&c->s,0,g_ts,0,3); if(c->cur.active&&c->cur.progress) emit(c,&c->cur,1,g_ts,0,3);} }
  for(conn*c=conns;c;c=c->next){ if(c->fetch_wait){ fetch_try(c,t); if(!c->fetch_wait&&c->in.len>c->in.off) handle(c); } if(c->out.len>c->out.off) flush_(c); upd_epoll(c); }
}
static void usage(void){ puts("fakemz --port 6875 --ctl-port 6876 --rows 1000 --symbols 500 --rate 0 (updates/s, -1 = as fast as the sockets take) --batch-ms 20 --mix 5:90:5 (insert:update:delete)\n"
 "       --start-delay 1 (s after a subscription exists; only for --rate) --duration 0 (s of updates, 0 = for ever) --seed 1 --symchange 0 (fraction of updates that change symbol)\n"
 "       --pad 0 (adds a `note` text column of that many bytes) --progress-ms 1000 --max-buffer-mb 512 --quiet --sequence\n"
 "       --per-tx 0 (changes per timestamp; 0: everything of a tick is one timestamp, 500 changes when unthrottled)\n"
 "control port, one command per line: rate R | burst N | batch MS | pertx N | mix i:u:d | pause | resume | drop (RST) | fin | error | endcopy | nolisten | listen | stats | quit\n"
 "rows of the initial table carry sent_ns = 1000000000000000000; every later change carries its CLOCK_REALTIME send time in ns."); exit(0); }
int main(int ac,char**av){
  for(int i=1;i<ac;i++){ char*a=av[i]; 
#define ARG(n) (!strcmp(a,n)&&i+1<ac)
    if(ARG("--port"))o_port=atoi(av[++i]); else if(ARG("--ctl-port"))o_ctl=atoi(av[++i]); else if(ARG("--rows"))o_rows=atoi(av[++i]); else if(ARG("--symbols"))o_syms=atoi(av[++i]);
    else if(ARG("--rate"))o_rate=atof(av[++i]); else if(ARG("--batch-ms"))o_batch_ms=atoi(av[++i]); else if(ARG("--mix"))sscanf(av[++i],"%lf:%lf:%lf",&o_ins,&o_upd,&o_del);
    else if(ARG("--start-delay"))o_start_delay=atof(av[++i]); else if(ARG("--duration"))o_duration=atof(av[++i]); else if(ARG("--seed"))o_seed=strtoull(av[++i],0,10); else if(ARG("--symchange"))o_symchange=atof(av[++i]);
    else if(ARG("--pad"))o_pad=atoi(av[++i]); else if(ARG("--progress-ms"))o_progress_ms=atoi(av[++i]); else if(ARG("--max-buffer-mb"))o_maxbuf=atoll(av[++i])<<20; else if(ARG("--columns")){ if(strcmp(av[++i],"trades")){ fprintf(stderr,"only the trades profile\n"); return 2; } } else if(ARG("--per-tx"))o_per_tx=atoi(av[++i]); else if(!strcmp(a,"--quiet"))o_quiet=1; else if(!strcmp(a,"--sequence"))o_sequence=1; else usage(); }
  if(o_pad>4000)o_pad=4000; if(!o_ctl)o_ctl=o_port+1; signal(SIGPIPE,SIG_IGN); rs[0]=o_seed*0x9E3779B97F4A7C15ULL+1; rs[1]=o_seed^0xD1B54A32D192ED03ULL; for(int i=0;i<20;i++)rnd();
  init_table(); g_ts=g_changed_at=now_ns()/1000000; ep=epoll_create1(EPOLL_CLOEXEC); lfd=listen_on(o_port); cfd=listen_on(o_ctl); if(lfd<0||cfd<0) return 1;
  tfd=timerfd_create(CLOCK_MONOTONIC,TFD_NONBLOCK|TFD_CLOEXEC); struct itimerspec s={{o_batch_ms/1000,(o_batch_ms%1000)*1000000L},{o_batch_ms/1000,(o_batch_ms%1000)*1000000L}}; timerfd_settime(tfd,0,&s,0);
  struct epoll_event e={.events=EPOLLIN,.data.ptr=(void*)3}; epoll_ctl(ep,EPOLL_CTL_ADD,tfd,&e);
  g_rate=o_rate; int armed=0; last_tick=now_ns(); fprintf(stderr,"[fakemz] listening 127.0.0.1:%d ctl %d rows=%d\n",o_port,o_ctl,o_rows);
  for(;;){
    int n=epoll_wait(ep,evb,256,g_rate<0?1:-1); int timer=0;
    for(int i=0;i<n;i++){ intptr_t v=(intptr_t)evb[i].data.ptr;
      if(v==3){ u64 x; if(read(tfd,&x,8)>0) timer=(int)x; continue; }
      if(v==1||v==2){ int f; while((f=accept4(v==1?lfd:cfd,0,0,SOCK_NONBLOCK|SOCK_CLOEXEC))>=0){ int one=1; setsockopt(f,IPPROTO_TCP,TCP_NODELAY,&one,sizeof one); conn*c=calloc(1,sizeof*c); c->fd=f; c->ctl=v==2; c->next=conns; conns=c; struct epoll_event q={.events=EPOLLIN,.data.ptr=c}; epoll_ctl(ep,EPOLL_CTL_ADD,f,&q); } continue; }
      conn*c=evb[i].data.ptr; if(c->closing) continue;
      if(evb[i].events&(EPOLLIN|EPOLLHUP|EPOLLERR)){ for(;;){ need(&c->in,65536); ssize_t k=recv(c->fd,c->in.p+c->in.len,65536,0); if(k>0){ c->in.len+=k; if(k<65536)break; } else { if(k==0||(errno!=EAGAIN&&errno!=EINTR)) c->closing=2; break; } } if(!c->closing) handle(c); }
      if(c->out.len>c->out.off) flush_(c);
    }
    if(!armed&&o_rate!=0){ for(conn*c=conns;c;c=c->next) if(c->copying||c->cur.active){ armed=1; g_start_at=now_ns()+(i64)(o_start_delay*1e9); if(o_duration>0) g_stop_at=g_start_at+(i64)(o_duration*1e9); last_tick=g_start_at; acc=0; break; } }
    if(timer||g_rate<0) tick(timer); else for(conn*c=conns;c;c=c->next){ if(c->out.len>c->out.off) flush_(c); upd_epoll(c); }
    for(conn**pp=&conns;*pp;){ conn*c=*pp; if(c->closing==2||(c->closing==1&&c->out.off==c->out.len)){ if(!o_quiet&&c->copying) fprintf(stderr,"[fakemz] COPY end fd=%d rows_sent=%lld\n",c->fd,(long long)c->s.rows_sent); close(c->fd); *pp=c->next; free(c->in.p);free(c->out.p);free(c->cq.p);free(c->stmt);free(c->portal);free(c); } else pp=&c->next; }
  }
}
