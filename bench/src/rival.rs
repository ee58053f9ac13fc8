//! tantivy, with what it offers for the task: stemming, field boosts, and names within one typing error or begun.

use std::error::Error;

use tantivy::collector::TopDocs;
use tantivy::query::QueryParser;
use tantivy::schema::{Field, IndexRecordOption, STORED, Schema, TEXT, TextFieldIndexing, TextOptions, Value};
use tantivy::{Index, IndexReader, TantivyDocument, doc};

use crate::corpus::{Fields, Row};
use crate::engine::{Engine, RESULTS};

/// Of the summary; the best of four that were tried on these queries.
const SUMMARY_BOOST: f32 = 1.5;
/// What the writer may hold in memory.
const HEAP: usize = 100_000_000;

pub(crate) struct Tantivy {
    reader: IndexReader,
    parser: QueryParser,
    name: Field,
    folder: tempfile::TempDir,
}

impl Tantivy {
    pub(crate) fn new(rows: &[Row], fields: &Fields) -> Result<Self, Box<dyn Error>> {
        let mut schema = Schema::builder();
        let stemmed = TextFieldIndexing::default()
            .set_tokenizer("en_stem")
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let stemmed = TextOptions::default().set_indexing_options(stemmed);
        let name = schema.add_text_field("name", TEXT | STORED);
        let summary = schema.add_text_field("summary", stemmed.clone());
        let description = schema.add_text_field("description", stemmed.clone());
        let labels = schema.add_text_field("labels", stemmed);
        let folder = tempfile::tempdir()?;
        let index = Index::create_in_dir(&folder, schema.build())?;
        let mut writer = index.writer_with_num_threads(1, HEAP)?;
        for row in rows {
            let mut document = doc!(name => row.name.as_str(), summary => row.summary.as_str(), description => row.description.as_str());
            if fields.section {
                document.add_text(labels, &row.section);
            }
            row.tags.iter().filter(|_| fields.tags).for_each(|tag| document.add_text(labels, tag));
            writer.add_document(document)?;
        }
        writer.commit()?;
        writer.wait_merging_threads()?;
        let mut parser = QueryParser::for_index(&index, vec![name, summary, description, labels]);
        parser.set_field_boost(summary, SUMMARY_BOOST);
        parser.set_field_fuzzy(name, true, 1, true);
        Ok(Self { reader: index.reader()?, parser, name, folder })
    }
}

impl Engine for Tantivy {
    fn search(&self, text: &str) -> Result<Vec<String>, Box<dyn Error>> {
        // No signs of its query syntax.
        let words = text.to_lowercase().replace(|c: char| !c.is_alphanumeric(), " ");
        let (query, _) = self.parser.parse_query_lenient(&words);
        let searcher = self.reader.searcher();
        let found = searcher.search(&query, &TopDocs::with_limit(RESULTS).order_by_score())?;
        let name = |address| -> Result<String, Box<dyn Error>> {
            let document: TantivyDocument = searcher.doc(address)?;
            let name = document.get_first(self.name).and_then(|value| value.as_str());
            Ok(name.unwrap_or_default().to_owned())
        };
        found.into_iter().map(|(_, address)| name(address)).collect()
    }

    fn size(&self) -> Result<u64, Box<dyn Error>> {
        let files = std::fs::read_dir(&self.folder)?;
        files.map(|file| Ok(file?.metadata()?.len())).sum()
    }
}
