// What fakemz says when it is asked about itself: settings, the catalogue, plans. Part of fakemz.c, which includes it once.
// Statements are recognised by what they read (the relation after FROM), not by their whole text, so that a client may
// write them as it likes; the columns come back in the order in which tycostream's Materialize engine asks for them.

#define OBJECT_ID "u1"   // every table is the same `trades`

typedef struct { buf*b; int want_desc, rows; } reply;
static void r_begin(reply*r,buf*b,int want_desc,int n,const char**names,const int*oids){ r->b=b; r->want_desc=want_desc; r->rows=0; if(want_desc) m_desc(b,n,names,oids); }
static void r_row(reply*r,int n,const char**v){ m_row(r->b,n,v); r->rows++; }
static int r_end(reply*r,const char*tag){ char t[40]; snprintf(t,40,"%s %d",tag,r->rows); m_complete(r->b,t); return 1; }

// The text between the quotes after `before`, as in: o.name = 'trades'.
static int literal_after(const char*q,const char*before,char*out,int n){
  const char*p=ci(q,before); if(!p) return 0; p+=strlen(before); while(*p&&*p!='\'') p++; if(!*p) return 0;
  int k=0; for(p++;*p&&(*p!='\''||p[1]=='\'');p++){ if(*p=='\'') p++; if(k<n-1) out[k++]=*p; } out[k]=0; return 1;
}

static int say_show(buf*b,const char*q,int want_desc){
  static const char*settings[][2]={{"timezone","UTC"},{"datestyle","ISO, MDY"},{"intervalstyle","postgres"},{"client_encoding","UTF8"},
    {"cluster","quickstart"},{"database","materialize"},{"search_path","public"},{"max_result_size","1GB"},{"extra_float_digits","3"},
    {"bytea_output","hex"},{"transaction_isolation","strict serializable"},{"statement_timeout","1 min"},{"welcome_message","off"}};
  char name[64]; ident(q+4,name,64); if(!strcasecmp(name,"TIME")) strcpy(name,"timezone");   // SHOW TIME ZONE
  for(char*x=name;*x;x++) *x=tolower((u8)*x);
  const char*names[1]={name},*value[1]={""}; for(size_t i=0;i<sizeof settings/sizeof*settings;i++) if(!strcmp(name,settings[i][0])) value[0]=settings[i][1];
  reply r; int oid[1]={25}; r_begin(&r,b,want_desc,1,names,oid); r_row(&r,1,value); return r_end(&r,"SELECT");
}

static int say_objects(buf*b,const char*q,int want_desc){
  reply r; char name[128]="trades",schema[128]="public",kind[128];
  if(literal_after(q,"o.name IN",kind,128)){   // only which objects a query's words name
    const char*n[1]={"id"},*v[1]={OBJECT_ID}; r_begin(&r,b,want_desc,1,n,0); if(ci(q,"'trades'")) r_row(&r,1,v); return r_end(&r,"SELECT");
  }
  literal_after(q,"o.name =",name,128); literal_after(q,"s.name =",schema,128);
  const char*n[5]={"id","type","name","name","name"},*v[5]={OBJECT_ID,"table","materialize",schema,name}; int o[5]={25,25,25,25,25};
  r_begin(&r,b,want_desc,5,n,o); r_row(&r,5,v); return r_end(&r,"SELECT");
}

static int say_columns(buf*b,const char*q,int want_desc){
  int all=ci(q,"nullable")!=0, n=all?3:2, o[3]={25,25,16}; const char*names[3]={"name","type","nullable"}; reply r; r_begin(&r,b,want_desc,n,names,o);
  for(int i=0;i<(o_pad?NCOL:NCOL-1);i++){ const char*v[3]={colname[i],coltype[i],i?"t":"f"}; r_row(&r,n,v); } return r_end(&r,"SELECT");
}

static int say_types(buf*b,const char*q,int want_desc){
  static const char*types[][2]={{"16","bool"},{"20","int8"},{"23","int4"},{"25","text"},{"1184","timestamptz"},{"1700","numeric"}};
  const char*names[2]={"oid","name"}; int o[2]={26,25}; reply r; r_begin(&r,b,want_desc,2,names,o);
  const char*in=ci(q," IN "); for(size_t i=0;i<sizeof types/sizeof*types;i++){ int asked=!in; for(const char*p=in;p&&(p=strstr(p,types[i][0]));p++) if(!isdigit((u8)p[-1])&&!isdigit((u8)p[strlen(types[i][0])])){ asked=1; break; } if(asked) r_row(&r,2,types[i]); }
  return r_end(&r,"SELECT");
}

// SELECT columns FROM … : its result columns, and no rows. -1 and an error if a column does not exist.
static int say_description(buf*b,const char*q,int want_desc,char*err){
  const char*names[NCOL]; int o[NCOL],n=0; char id[128]; const char*p=ws(q+6);
  for(;;){ p=ident(p,id,128); int k=colid(id);
    if(!strcmp(id,"*")) for(int i=0;i<(o_pad?NCOL:NCOL-1)&&n<NCOL;i++){ names[n]=colname[i]; o[n++]=coloid[i]; }
    else if(k>=0&&n<NCOL){ names[n]=colname[k]; o[n++]=coloid[k]; }
    else if(!strncasecmp(ws(id),"count",5)&&n<NCOL){ names[n]="count"; o[n++]=20; while(*p&&*p!=')') p++; if(*p) p++; }
    else { snprintf(err,200,"column \"%s\" does not exist",id); m_err(b,"42703",err); return -1; }
    p=ws(p); if(*p!=',') break; p++; }
  reply r; r_begin(&r,b,want_desc,n,names,o); return r_end(&r,"SELECT");
}

static int say_nothing(buf*b,int want_desc,int n,const char**names,const int*oids){ reply r; r_begin(&r,b,want_desc,n,names,oids); return r_end(&r,"SELECT"); }
static int say_one(buf*b,int want_desc,const char*name,int oid,const char*value){ reply r; const char*n[1]={name},*v[1]={value}; int o[1]={oid}; r_begin(&r,b,want_desc,1,n,o); r_row(&r,1,v); return r_end(&r,"SELECT"); }

// 1: answered, -1: answered with an error, 0: not a question for us.
static int catalogue(buf*b,const char*q,int want_desc){
  char err[256];
  if(!strncasecmp(q,"EXPLAIN",7)){   // tables of Materialize have no keys; ours says that it knows of one, so that a config needs none
    return say_one(b,want_desc,"Optimized Plan",25,"Explained Query:\n  →Read materialize.public.trades // { arity: 7, keys: \"([0])\" }\n"); }
  if(!strncasecmp(q,"SHOW COLUMNS",12)){ const char*n[4]={"name","nullable","type","comment"}; reply r; r_begin(&r,b,want_desc,4,n,0); for(int i=0;i<(o_pad?NCOL:NCOL-1);i++){ const char*v[4]={colname[i],i?"t":"f",coltype[i],""}; r_row(&r,4,v); } return r_end(&r,"SELECT"); }
  if(!strncasecmp(q,"SHOW",4)) return say_show(b,q,want_desc);
  if(strncasecmp(q,"SELECT",6)) return 0;
  if(ci(q,"mz_environment_id()")){ const char*n[3]={"mz_environment_id","mz_version","current_database"},*v[3]={"environment-fakemz-0","v0.130.0 (fakemz)","materialize"}; int k=1+(ci(q,"mz_version()")!=0)+(ci(q,"current_database()")!=0); reply r; r_begin(&r,b,want_desc,k,n,0); r_row(&r,k,v); return r_end(&r,"SELECT"); }
  if(ci(q,"mz_comments")){ const char*n[2]={"object_sub_id","comment"}; int o[2]={23,25}; return say_nothing(b,want_desc,2,n,o); }
  if(ci(q,"mz_history_retention_strategies")){ const char*n[2]={"id","value"}; int o[2]={25,3802}; return say_nothing(b,want_desc,2,n,o); }
  if(ci(q,"mz_columns")) return say_columns(b,q,want_desc);
  if(ci(q,"mz_types")) return say_types(b,q,want_desc);
  if(ci(q,"mz_cluster_replicas")) return say_one(b,want_desc,"count",20,"1");
  if(ci(q,"mz_clusters")) return say_one(b,want_desc,"?column?",23,"1");
  if(ci(q,"mz_objects")) return say_objects(b,q,want_desc);
  if(ci(q,"mz_now()")){ char t[24]; i64 ms=now_ns()/1000000; *u64s(t,ms>g_ts?ms:g_ts)=0; return say_one(b,want_desc,"mz_now",16552,t); }
  if(ci(q,"mz_version()")) return say_one(b,want_desc,"mz_version",25,"v0.130.0 (fakemz)");
  if(ci(q,"version()")) return say_one(b,want_desc,"version",25,"PostgreSQL 9.5.0 on x86_64 (fakemz v0.130.0)");
  if(ci(q," FROM ")) return say_description(b,q,want_desc,err);   // SELECT … LIMIT 0, and the search for duplicate keys: there are none
  return say_one(b,want_desc,"?column?",23,"1");
}
